// A file that begins with kgroup's headers must find Asio allocating as any other file of the program does.
#include <kgroup/detail/clock.hpp>

#include <asio/version.hpp>

#if defined(_GLIBCXX_HAVE_ALIGNED_ALLOC) && ASIO_VERSION < 102300 && !defined(ASIO_HAS_STD_ALIGNED_ALLOC)
#error "Asio was configured before the standard library"
#endif
