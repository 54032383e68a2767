// SPDX-License-Identifier: MIT

// The record all benchmark programs agree on, and what reading one means: shared by the tools that
// write and the arms that read, C and C++.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

// A record's value begins with the nanosecond (CLOCK_REALTIME) it was meant to be sent and its
// running number, both little-endian; text follows.
enum { record_header_size = 16 };

static inline int64_t wall_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// The sum of the value taken as little-endian 64-bit words, the last one padded with zeros. It
// touches every byte, costs about the same in every language (a byte at a time would not: compilers
// differ in what they vectorise), and does not depend on the order of the records.
static inline uint64_t record_checksum(void const* value, size_t size) {
    unsigned char const* bytes = (unsigned char const*)value;
    uint64_t sum = 0;
    uint64_t word = 0;
    for (; size >= sizeof word; bytes += sizeof word, size -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        sum += word;
    }
    word = 0;
    memcpy(&word, bytes, size);
    return sum + word;
}

// Work that neither a compiler nor a second core can shorten: a chain of dependent shifts.
static inline uint64_t spin(uint64_t state, int64_t rounds) {
    for (state |= 1; rounds > 0; --rounds) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    return state;
}
