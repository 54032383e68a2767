// SPDX-License-Identifier: MIT

// Prints how many rounds of spin() this machine does in a microsecond: the best of several tries,
// so that a busy moment does not count.
#include <stdio.h>

#include "../arms/record.h"

int main(void) {
    int64_t const rounds = 2000000;
    int64_t best_ns = INT64_MAX;
    uint64_t state = 1;
    for (int attempt = 0; attempt < 20; ++attempt) {
        int64_t const begin_ns = wall_clock_ns();
        state = spin(state, rounds);
        int64_t const elapsed_ns = wall_clock_ns() - begin_ns;
        if (elapsed_ns < best_ns)
            best_ns = elapsed_ns;
    }
    printf("{\"rounds_per_us\":%.3f,\"state\":\"%llx\"}\n", (double)rounds * 1000 / (double)best_ns,
           (unsigned long long)state);
    return 0;
}
