#include <kgroup/src.hpp>
