/* The kernel's loops for one instruction set: included by _kernel.c once for each, with
 *
 *   NAME(f)        the name of f for this instruction set
 *   TARGET         the attribute that lets the compiler use it
 *   VECTOR         an integer type holding WIDTH 64-bit lanes
 *   MULTIPLY(a, b) the products of the lanes' low halves, 64 bits each
 *   HIGH(a)        the lanes' high halves moved into the low ones
 *   GROUPS         how many groups are drawn at a time, so that no round waits for the last one
 *   FROM_HALF(h, f), TO_HALF(f, h)   convert GROUP numbers
 *
 * Element i takes word j of counter b, where i = 128 g + 16 j + l and b = 16 g + l: counters lie
 * side by side in a vector, and so do the elements that one word of theirs decides.
 */

#define COPY(value) ((VECTOR){0} + (uint64_t)(value))

/* Draw the words of the elements of GROUPS groups from `group` on, each in the high half of 32 bits
 * (what the low half holds does not matter). A counter's word sits in the low half of a 64-bit lane,
 * where a product leaves it, and the high half is never read; even and odd counters are kept apart
 * until the end, when they fit into one vector of 32-bit lanes. */
TARGET static inline void NAME(draw)(
    uint64_t group, uint64_t seed, uint64_t stream, uint32_t word[GROUPS * GROUP]) {
    for (int first = 0; first < LANES; first += 2 * WIDTH) {
        VECTOR c[GROUPS][2][4];
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        for (int g = 0; g < GROUPS; g++)
            for (int odd = 0; odd < 2; odd++) {
                uint64_t counter[WIDTH];
                for (int l = 0; l < WIDTH; l++)
                    counter[l] = (group + g) * LANES + first + 2 * l + odd;
                memcpy(&c[g][odd][0], counter, sizeof counter);
                c[g][odd][1] = c[g][odd][0] >> 32;
                c[g][odd][2] = COPY((uint32_t)stream);
                c[g][odd][3] = COPY(stream >> 32);
            }
        for (int round = 0; round < 10; round++, k0 += WEYL0, k1 += WEYL1)
            for (int g = 0; g < GROUPS; g++)
                for (int odd = 0; odd < 2; odd++) {
                    VECTOR *now = c[g][odd];
                    VECTOR left = MULTIPLY(now[0], COPY(MULTIPLIER0));
                    VECTOR right = MULTIPLY(now[2], COPY(MULTIPLIER1));
                    now[0] = HIGH(right) ^ now[1] ^ COPY(k0);
                    now[1] = right;
                    now[2] = HIGH(left) ^ now[3] ^ COPY(k1);
                    now[3] = left;
                }
        for (int g = 0; g < GROUPS; g++)
            for (int w = 0; w < 4; w++) {
                VECTOR high = (c[g][0][w] & COPY(0xFFFFFFFF)) | c[g][1][w] << 32, low = high << 16;
                uint32_t *at = word + g * GROUP + 2 * w * LANES + first;
                memcpy(at, &low, sizeof low);
                memcpy(at + LANES, &high, sizeof high);
            }
    }
}

TARGET static inline void NAME(keep)(
    const uint32_t *word, const uint8_t *x, uint8_t *y, const Job *job) {
    const uint32_t limit = job->threshold << 16;
    (void)x;
    for (int i = 0; i < GROUP; i++) y[i] = word[i] >= limit;
}

/* The products of one group, computed in `real` from numbers stored as `stored`: LOAD and STORE
 * convert by way of the buffer, or point past it where the two types are one. */
#define PRODUCT(suffix, stored, real, LOAD, STORE)                                                 \
    TARGET static inline void NAME(drop_##suffix)(                                                 \
        const uint32_t *word, const stored *restrict x, stored *restrict y, const Job *job) {      \
        const uint32_t limit = job->threshold << 16;                                               \
        const real factor = (real)job->factor;                                                     \
        real buffer[GROUP], *product = buffer;                                                     \
        const real *number = buffer;                                                               \
        LOAD(x, buffer);                                                                           \
        for (int i = 0; i < GROUP; i++) {                                                          \
            const real scaled = number[i] * factor;                                                \
            product[i] = word[i] >= limit ? scaled : 0;                                            \
        }                                                                                          \
        STORE(buffer, y);                                                                          \
    }                                                                                              \
    TARGET static inline void NAME(blur_##suffix)(                                                 \
        const uint32_t *word, const stored *restrict x, stored *restrict y, const Job *job) {      \
        const real factor = (real)job->factor;                                                     \
        const float *table = job->table;                                                           \
        real buffer[GROUP], *product = buffer;                                                     \
        const real *number = buffer;                                                               \
        LOAD(x, buffer);                                                                           \
        for (int i = 0; i < GROUP; i++)                                                            \
            product[i] = number[i] * (factor * table[word[i] >> 16] + 1);                          \
        STORE(buffer, y);                                                                          \
    }                                                                                              \
    PIECE(drop_##suffix, stored)                                                                   \
    PIECE(blur_##suffix, stored)

/* Elements start … stop of a row: whole groups in place, the rest through a buffer. */
#define PIECE(what, stored)                                                                        \
    TARGET static void NAME(piece_##what)(                                                         \
        const Job *job, int64_t row, int64_t start, int64_t stop) {                                \
        const uint64_t seed = job->seeds[row], offset = job->offset;                               \
        const stored *x = (const stored *)job->x + (job->x ? row * job->count : 0);                \
        stored *y = (stored *)job->y + row * job->count;                                           \
        _Alignas(64) uint32_t word[GROUPS * GROUP];                                                \
        while (start < stop) {                                                                     \
            const uint64_t index = offset + (uint64_t)start;                                       \
            const int64_t skip = (int64_t)(index % GROUP);                                         \
            for (size_t line = 0; line < GROUPS * GROUP * sizeof(stored); line += 64) {            \
                if (x) __builtin_prefetch((const char *)(x + start) + AHEAD + line, 0);            \
                __builtin_prefetch((char *)(y + start) + AHEAD + line, 1);                         \
            }                                                                                      \
            NAME(draw)(index / GROUP, seed, job->stream, word);                                    \
            if (!skip && stop - start >= GROUPS * GROUP) {                                         \
                for (int g = 0; g < GROUPS; g++, start += GROUP)                                   \
                    NAME(what)(word + g * GROUP, x ? x + start : x, y + start, job);               \
            } else {                                                                               \
                const int64_t length = stop - start < GROUP - skip ? stop - start : GROUP - skip;  \
                stored before[GROUP] = {0}, after[GROUP];                                          \
                if (x) memcpy(before + skip, x + start, length * sizeof(stored));                  \
                NAME(what)(word, before, after, job);                                              \
                memcpy(y + start, after + skip, length * sizeof(stored));                          \
                start += length;                                                                   \
            }                                                                                      \
        }                                                                                          \
    }

PIECE(keep, uint8_t)
PRODUCT(f64, double, double, IN_PLACE, DONE)
PRODUCT(f32, float, float, IN_PLACE, DONE)
PRODUCT(bf16, uint16_t, float, FROM_BRAIN, TO_BRAIN)
PRODUCT(f16, uint16_t, float, FROM_HALF, TO_HALF)

static const Piece NAME(pieces)[] = {
    NAME(piece_keep),      NAME(piece_drop_f32),  NAME(piece_drop_bf16),
    NAME(piece_drop_f16),  NAME(piece_drop_f64),  NAME(piece_blur_f32),
    NAME(piece_blur_bf16), NAME(piece_blur_f16),  NAME(piece_blur_f64),
};

#undef COPY
#undef PRODUCT
#undef PIECE
#undef NAME
#undef TARGET
#undef VECTOR
#undef WIDTH
#undef MULTIPLY
#undef HIGH
#undef GROUPS
#undef FROM_HALF
#undef TO_HALF
