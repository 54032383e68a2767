// SPDX-License-Identifier: MIT

// ThreadSanitizer knows the threads of POSIX, and not those of C, which librdkafka uses: a thread
// that thrd_create begins crashes it, and what mtx_lock orders it takes for a race. So in its
// builds C's functions are made of POSIX's here, as the C library makes them too (glibc: thrd_t is
// pthread_t, mtx_t and cnd_t have the size of theirs).

#if defined(__SANITIZE_THREAD__)
#define KGROUP_TESTS_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KGROUP_TESTS_THREAD_SANITIZER
#endif
#endif

#if defined(KGROUP_TESTS_THREAD_SANITIZER)

#include <cerrno>
#include <cstdint>
#include <memory>
#include <pthread.h>
#include <threads.h>

namespace {

static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t));
static_assert(sizeof(thrd_t) == sizeof(pthread_t));

pthread_mutex_t* posix(mtx_t* mutex) { return reinterpret_cast<pthread_mutex_t*>(mutex); }
pthread_cond_t* posix(cnd_t* condition) { return reinterpret_cast<pthread_cond_t*>(condition); }

int result_of(int error) {
    return error == 0 ? thrd_success : error == ETIMEDOUT ? thrd_timedout : thrd_error;
}

struct start {
    thrd_start_t run;
    void* argument;
};

void* run_thread(void* given) {
    std::unique_ptr<start> const begun{static_cast<start*>(given)};
    return reinterpret_cast<void*>(static_cast<std::intptr_t>(begun->run(begun->argument)));
}

} // namespace

extern "C" {

int thrd_create(thrd_t* thread, thrd_start_t run, void* argument) {
    auto begun = std::make_unique<start>(start{run, argument});
    int const error = pthread_create(thread, nullptr, run_thread, begun.get());
    if (error == 0) {
        begun.release();
    }
    return result_of(error);
}

int thrd_join(thrd_t thread, int* result) {
    void* returned = nullptr;
    int const error = pthread_join(thread, &returned);
    if (error == 0 && result != nullptr) {
        *result = static_cast<int>(reinterpret_cast<std::intptr_t>(returned));
    }
    return result_of(error);
}

int mtx_init(mtx_t* mutex, int type) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, (type & mtx_recursive) != 0 ? PTHREAD_MUTEX_RECURSIVE
                                                                       : PTHREAD_MUTEX_NORMAL);
    int const error = pthread_mutex_init(posix(mutex), &attributes);
    pthread_mutexattr_destroy(&attributes);
    return result_of(error);
}
int mtx_lock(mtx_t* mutex) { return result_of(pthread_mutex_lock(posix(mutex))); }
int mtx_unlock(mtx_t* mutex) { return result_of(pthread_mutex_unlock(posix(mutex))); }
// It does nothing in the C library, and what makes it safe for the last owner, a count, is not to
// be seen from here.
void mtx_destroy(mtx_t*) {}

int cnd_init(cnd_t* condition) { return result_of(pthread_cond_init(posix(condition), nullptr)); }
int cnd_signal(cnd_t* condition) { return result_of(pthread_cond_signal(posix(condition))); }
int cnd_broadcast(cnd_t* condition) { return result_of(pthread_cond_broadcast(posix(condition))); }
int cnd_wait(cnd_t* condition, mtx_t* mutex) {
    return result_of(pthread_cond_wait(posix(condition), posix(mutex)));
}
int cnd_timedwait(cnd_t* condition, mtx_t* mutex, timespec const* until) {
    return result_of(pthread_cond_timedwait(posix(condition), posix(mutex), until));
}
void cnd_destroy(cnd_t* condition) { pthread_cond_destroy(posix(condition)); }

} // extern "C"

#endif
