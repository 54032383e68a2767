// SPDX-License-Identifier: MIT

// Runs a program and writes what it used to the file REPORT:
//
//     run_measured REPORT PROGRAM ARGUMENT…
//
// {"pid":…,"exit_status":…,"user_seconds":…,"system_seconds":…,"peak_rss_kib":…,"seconds":…}.
// SIGTERM and SIGINT are passed on.
//
// A process of its own because Linux starts a program's peak resident size at that of the process
// that called exec: started from a Python interpreter, every small program would report Python's
// size.
#include <sys/resource.h>
#include <sys/wait.h>

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static volatile pid_t child = 0;

static void pass_on(int signal_number) {
    if (child > 0)
        kill(child, signal_number);
}

static double in_seconds(struct timeval value) {
    return (double)value.tv_sec + (double)value.tv_usec / 1e6;
}

int main(int argc, char** argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: run_measured REPORT PROGRAM ARGUMENT...\n");
        return 2;
    }
    struct timespec begin;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    sigset_t passed;
    sigset_t before;
    sigemptyset(&passed);
    sigaddset(&passed, SIGTERM);
    sigaddset(&passed, SIGINT);
    sigprocmask(SIG_BLOCK, &passed, &before);
    signal(SIGTERM, pass_on);
    signal(SIGINT, pass_on);
    pid_t const started = fork();
    if (started == 0) {
        signal(SIGTERM, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        sigprocmask(SIG_SETMASK, &before, NULL);
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    child = started;
    sigprocmask(SIG_SETMASK, &before, NULL);

    int status = 0;
    struct rusage usage;
    while (wait4(started, &status, 0, &usage) < 0)
        ;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    FILE* const report = fopen(argv[1], "w");
    if (report == NULL) {
        perror(argv[1]);
        return 2;
    }
    int const exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    fprintf(report,
            "{\"pid\":%d,\"exit_status\":%d,\"user_seconds\":%.6f,\"system_seconds\":%.6f,\"peak_"
            "rss_kib\":%ld,"
            "\"seconds\":%.6f}\n",
            (int)started, exit_status, in_seconds(usage.ru_utime), in_seconds(usage.ru_stime),
            usage.ru_maxrss,
            (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    return fclose(report) == 0 ? exit_status : 2;
}
