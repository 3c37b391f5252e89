/* The kernel's loops for one instruction set. _kernel.c includes this file once per set, with
 *
 *   NAME(f)        the name of f for this instruction set
 *   TARGET         the attribute that lets the compiler use it
 *   VECTOR         an integer type holding WIDTH 64-bit lanes
 *   MULTIPLY(a, b) the products of the lanes' low halves, 64 bits each
 *   HIGH(a)        the lanes' high halves moved into the low ones
 *   EVEN(a, b)     of every 128 bits, numbers 0 and 2 of 32 bits from a, then those from b
 *   ODD(a, b)      the same with numbers 1 and 3
 *   VECTORS        how many vectors are drawn together, so that rounds do not wait for each other
 *   BLOCK          elements at a time, a multiple of 8 × WIDTH × VECTORS
 *   FROM_HALF(h, f), TO_HALF(f, h)   convert BLOCK numbers
 *
 * Element i uses word i mod 8 of counter i / 8. So Philox's output in memory is the sequence of the
 * elements' words.
 */

#define COPY(value) ((VECTOR){0} + (uint64_t)(value))

/* Draw the words of a block. A word is in the low half of a 64-bit lane, where a product leaves it;
 * the high half is never read. The two counters in the same 128 bits are half a vector apart, so
 * that the transposed vectors contain the counters in order. */
TARGET static inline void NAME(draw)(
    uint64_t block, uint64_t seed, uint64_t stream, uint16_t word[BLOCK]) {
    for (int first = 0; first < BLOCK / 8; first += WIDTH * VECTORS) {
        VECTOR c[VECTORS][4];
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        for (int v = 0; v < VECTORS; v++) {
            VECTOR counter = COPY(block * (BLOCK / 8) + first + v * WIDTH);
            for (int l = 0; l < WIDTH; l++) counter[l] += l / 2 + l % 2 * (WIDTH / 2);
            c[v][0] = counter;
            c[v][1] = counter >> 32;
            c[v][2] = COPY((uint32_t)stream);
            c[v][3] = COPY(stream >> 32);
        }
        for (int round = 0; round < 10; round++, k0 += WEYL0, k1 += WEYL1)
            for (int v = 0; v < VECTORS; v++) {
                VECTOR *now = c[v];
                VECTOR left = MULTIPLY(now[0], COPY(MULTIPLIER0));
                VECTOR right = MULTIPLY(now[2], COPY(MULTIPLIER1));
                now[0] = HIGH(right) ^ now[1] ^ COPY(k0);
                now[1] = right;
                now[2] = HIGH(left) ^ now[3] ^ COPY(k1);
                now[3] = left;
            }
        for (int v = 0; v < VECTORS; v++) {
            VECTOR left = EVEN(c[v][0], c[v][1]), right = EVEN(c[v][2], c[v][3]);
            VECTOR even = EVEN(left, right), odd = ODD(left, right);
            uint16_t *at = word + 8 * (first + v * WIDTH);
            memcpy(at, &even, sizeof even);
            memcpy(at + 4 * WIDTH, &odd, sizeof odd);
        }
    }
}

TARGET static inline void NAME(keep)(
    const uint16_t *word, const uint8_t *x, uint8_t *y, const Job *job) {
    const uint16_t limit = (uint16_t)job->threshold;
    (void)x;
    for (int i = 0; i < BLOCK; i++) y[i] = word[i] >= limit;
}

/* Multiply one block: compute in `real`, with numbers stored as `stored`. LOAD and STORE convert
 * through the buffer, or skip the buffer if both types are equal. */
#define PRODUCT(suffix, stored, real, LOAD, STORE)                                                 \
    TARGET static inline void NAME(drop_##suffix)(                                                 \
        const uint16_t *word, const stored *restrict x, stored *restrict y, const Job *job) {      \
        const uint16_t limit = (uint16_t)job->threshold;                                           \
        const real factor = (real)job->factor;                                                     \
        real buffer[BLOCK], *product = buffer;                                                     \
        const real *number = buffer;                                                               \
        LOAD(x, buffer);                                                                           \
        for (int i = 0; i < BLOCK; i++) {                                                          \
            const real scaled = number[i] * factor;                                                \
            product[i] = word[i] >= limit ? scaled : 0;                                            \
        }                                                                                          \
        STORE(buffer, y);                                                                          \
    }                                                                                              \
    TARGET static inline void NAME(blur_##suffix)(                                                 \
        const uint16_t *word, const stored *restrict x, stored *restrict y, const Job *job) {      \
        const real factor = (real)job->factor;                                                     \
        const float *table = job->table;                                                           \
        real buffer[BLOCK], *product = buffer;                                                     \
        const real *number = buffer;                                                               \
        LOAD(x, buffer);                                                                           \
        for (int i = 0; i < BLOCK; i++)                                                            \
            product[i] = number[i] * (factor * table[word[i]] + 1);                                \
        STORE(buffer, y);                                                                          \
    }                                                                                              \
    PIECE(drop_##suffix, stored)                                                                   \
    PIECE(blur_##suffix, stored)

/* Process elements start … stop of a row: whole blocks in place, the rest through a buffer. */
#define PIECE(what, stored)                                                                        \
    TARGET static void NAME(piece_##what)(                                                         \
        const Job *job, int64_t row, int64_t start, int64_t stop) {                                \
        const uint64_t seed = job->seeds[row], offset = job->offset;                               \
        const stored *x = (const stored *)job->x + (job->x ? row * job->count : 0);                \
        stored *y = (stored *)job->y + row * job->count;                                           \
        _Alignas(64) uint16_t word[BLOCK];                                                         \
        while (start < stop) {                                                                     \
            const uint64_t index = offset + (uint64_t)start;                                       \
            const int64_t skip = (int64_t)(index % BLOCK);                                         \
            for (size_t line = 0; line < BLOCK * sizeof(stored); line += 64) {                     \
                if (x) __builtin_prefetch((const char *)(x + start) + AHEAD + line, 0);            \
                __builtin_prefetch((char *)(y + start) + AHEAD + line, 1);                         \
            }                                                                                      \
            NAME(draw)(index / BLOCK, seed, job->stream, word);                                    \
            if (!skip && stop - start >= BLOCK) {                                                  \
                NAME(what)(word, x ? x + start : x, y + start, job);                               \
                start += BLOCK;                                                                    \
            } else {                                                                               \
                const int64_t length = stop - start < BLOCK - skip ? stop - start : BLOCK - skip;  \
                stored before[BLOCK] = {0}, after[BLOCK];                                          \
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
#undef EVEN
#undef ODD
#undef VECTORS
#undef BLOCK
#undef FROM_HALF
#undef TO_HALF
