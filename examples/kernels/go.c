/* go.c - the game of Go for examples/mcts.lua: rules, playouts and priors.
 *
 * A kernel library: needs <luarun/kernel.h> and the C library, nothing else. It owns no memory but
 * the scratch of one worker thread (struct scratch, made once through lr_worker_state), keeps no
 * state between calls, and trusts nothing: a position comes as a string of bytes and is checked cell
 * by cell before it is used.
 *
 * The words used here:
 *   position  a string: 16 bytes of head, a byte for each point, then 8 bytes for each earlier
 *             position (its hash), see `position format` below. Made by `new`, `setup`, `play`.
 *   move      0 is a pass; 1..n*n a point, row by row from the bottom left (A1 is 1)
 *   path      a string of moves, two bytes each, low byte first, the colours alternating
 *   paths     a string of paths, each after its number of moves, two bytes, low byte first
 *   cell      an index into the padded board, where the neighbours of p are p+-1 and p+-STRIDE
 *
 * Where the ideas come from:
 *   Gelly, Wang, Munos, Teytaud: Modification of UCT with Patterns in Monte-Carlo Go. INRIA RR-6062,
 *     2006. The playout's order of preference (section 4.2): answer an atari, a 3x3 pattern beside the last
 *     move, take stones, any move that fills no eye.
 *   Gelly, Silver: Monte-Carlo tree search and rapid action value estimation in computer Go.
 *     Artificial Intelligence 175, 2011. The all-moves-as-first counts (section 4) and heuristic
 *     priors as virtual visits (section 6).
 *   Chaslot, Fiter, Hoock, Rimmel, Teytaud: Adding expert knowledge and exploration in Monte-Carlo
 *     tree search. ACG 2009. Nakade and the avoidance of self-atari in playouts.
 *   Coulom: Computing Elo ratings of move patterns in the game of Go. ICGA Journal 30, 2007. The
 *     features that matter near the last move.
 *   Zobrist: A new hashing method with application for game playing. Univ. of Wisconsin TR 88, 1970.
 *   Liberties are kept as a count, a sum and a sum of squares over all (stone, empty neighbour)
 *   pairs: all pairs name one point exactly when count * squares == sum * sum (Cauchy-Schwarz), so
 *   that "in atari, and where" costs no walk.
 */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* however it is compiled: playouts are an eighth faster than with -O2 */
#endif

#include <luarun/kernel.h>
#include <string.h>

enum { EMPTY = 0, BLACK = 1, WHITE = 2, EDGE = 3 };
enum { MIN_SIZE = 5, MAX_SIZE = 19, STRIDE = 20, CELLS = STRIDE * 21 + 1, POINTS = 361 };
enum { MAX_HISTORY = 4096, MAX_PATH = 2048, MAX_PATHS = 256, MAX_PLAYOUTS = 1000000 };
enum { PASS_CELL = 0, NO_CELL = 0xffff };

#define OTHER(colour) (3 - (colour))

/* Four sides first, then four corners; the opposite of direction k is OPPOSITE(k). */
static const int direction[8] = {STRIDE, 1, -STRIDE, -1, STRIDE + 1, -STRIDE + 1, -STRIDE - 1, STRIDE - 1};
#define OPPOSITE(k) (((k) & 4) | (((k) + 2) & 3))

typedef struct rng {
    uint64_t state;
} rng;

/* One point's eight neighbours, two bits each in the order of `direction`, index these facts. */
enum {
    EYE_BLACK = 1,      /* filling it is black filling its own eye */
    EYE_WHITE = 2,
    SHAPE_BLACK = 4,    /* a 3x3 shape that black should think of playing */
    SHAPE_WHITE = 32,
    ONE_EMPTY = 8,      /* at least one of the four sides is empty */
    TWO_EMPTY = 16,     /* at least two are */
    THREE_EMPTY = 64,
    TWO_COLOURS = 128,  /* stones of both colours on the four sides */
};

#define EYE_OF(colour) ((colour) == BLACK ? EYE_BLACK : EYE_WHITE)
#define SHAPE_FOR(colour) ((colour) == BLACK ? SHAPE_BLACK : SHAPE_WHITE)

typedef struct board {
    uint8_t cell[CELLS];
    uint16_t around[CELLS];  /* two bits for each of the eight neighbours */
    uint16_t group[CELLS];   /* of a stone: its group's name, which is the cell of one of its stones */
    uint16_t next[CELLS];    /* of a stone: the next of its group, in a ring */
    uint16_t stones[CELLS];  /* of a group: how many */
    uint16_t liberties[CELLS]; /* of a group: (stone, empty neighbour) pairs, so "pseudo" liberties */
    uint32_t liberty_sum[CELLS];
    uint32_t liberty_squares[CELLS];
    uint16_t empty[POINTS];  /* the empty cells, in no order */
    uint16_t empty_index[CELLS];
    int empty_count;
    int stone_count[3];
    int captured[3];         /* stones of that colour that were taken */
    int size;
    int to_move;
    int ko;                  /* a cell or 0 */
    int last, before_last;   /* cells, PASS_CELL, NO_CELL */
    uint64_t hash;           /* of the stones alone: superko here is positional */
} board;

/* Everything a worker keeps. */
typedef struct scratch {
    uint8_t facts[65536];
    uint64_t zobrist[3][CELLS];
    board base, start, play; /* as the position says; after a path; of one playout */
    uint64_t history[MAX_HISTORY + MAX_PATH];
    int history_count;
    uint64_t seen[256];      /* a Bloom filter over history */
    uint8_t first[CELLS];    /* who played here first in this playout */
    uint16_t order[3 * POINTS + 2];
    uint32_t amaf_visits[3][CELLS], amaf_wins[3][CELLS]; /* wins in halves: a jigo is one */
    int32_t owner[CELLS];
    uint8_t mark[CELLS];
} scratch;

/* ---- random numbers ---------------------------------------------------------------------------- */

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t random_bits(rng *r)
{
    r->state += 0x9e3779b97f4a7c15u;
    return (uint32_t)(mix(r->state) >> 32);
}

/* 0..bound-1 */
static int random_below(rng *r, int bound)
{
    return (int)(((uint64_t)random_bits(r) * (uint64_t)bound) >> 32);
}

/* ---- cells and moves ---------------------------------------------------------------------------- */

static int cell_of_move(int size, int move)
{
    return ((move - 1) / size + 1) * STRIDE + (move - 1) % size + 1;
}

static int move_of_cell(int size, int p)
{
    return p == PASS_CELL ? 0 : (p / STRIDE - 1) * size + p % STRIDE;
}

/* "E5" for a message. */
static const char *cell_name(int p, char out[8])
{
    if (p == PASS_CELL) return "pass";
    int row = p / STRIDE, used = 0;
    out[used++] = "ABCDEFGHJKLMNOPQRST"[p % STRIDE - 1];
    if (row >= 10) out[used++] = '1';
    out[used++] = (char)('0' + row % 10);
    out[used] = 0;
    return out;
}

/* ---- tables, made once for each worker ----------------------------------------------------------- */

static int around_get(unsigned code, int k)
{
    return (int)(code >> (2 * k)) & 3;
}

/* An eye that the owner must not fill: own stones or the edge on four sides, and not two hostile
 * corners (one at the edge), which would make it false. */
static bool is_eye(unsigned code, int colour)
{
    int edges = 0, hostile = 0;
    for (int k = 0; k < 4; k++) {
        int c = around_get(code, k);
        if (c == EDGE) edges++;
        else if (c != colour) return false;
    }
    for (int k = 4; k < 8; k++) hostile += around_get(code, k) == OTHER(colour);
    return hostile + (edges > 0) < 2;
}

/* The shapes of Gelly et al. 2006, figures 3 to 6: hane, cut, and moves at the edge. The centre is the move.
 * X and O are either colour, '.' empty, '#' the edge, 'x' not X, 'o' not O (and not the edge), '?'
 * anything. The last letter says who may play it: X, or ? for both. */
static const char shapes[][11] = {
    "XOX" ".*." "???" "?", /* hane */
    "XO." ".*." "?.?" "?",
    "XO?" "X*." "x.?" "?",
    ".O." "X*." "..." "?",
    "XO?" "O*o" "?o?" "?", /* cut */
    "XO?" "O*X" "???" "?",
    "?X?" "O*O" "ooo" "?",
    "OX?" "o*O" "???" "?",
    "X.?" "O*?" "###" "?", /* at the edge */
    "OX?" "X*O" "###" "?",
    "?OX" "X*O" "###" "?",
    "?X?" ".*O" "###" "X",
};

/* Marks every neighbourhood that the shape from position i on allows. */
static void shape_expand(uint8_t *facts, const char *shape, const uint8_t to[9], int swap, int i, unsigned code)
{
    static const char *const letters = ".XO#";
    if (i == 9) {
        int own = swap ? SHAPE_WHITE : SHAPE_BLACK;
        facts[code] |= (uint8_t)(shape[9] == 'X' ? own : SHAPE_BLACK | SHAPE_WHITE);
        return;
    }
    if (i == 4) {
        shape_expand(facts, shape, to, swap, i + 1, code);
        return;
    }
    for (unsigned c = EMPTY; c <= EDGE; c++) {
        char want = shape[i], have = letters[c];
        bool fits = want == have || want == '?' || (want == 'x' && (c == EMPTY || have == 'O')) ||
                    (want == 'o' && (c == EMPTY || have == 'X'));
        if (!fits) continue;
        unsigned colour = swap && (c == BLACK || c == WHITE) ? 3 - c : c;
        shape_expand(facts, shape, to, swap, i + 1, code | colour << (2 * to[i]));
    }
}

static void shapes_init(uint8_t *facts)
{
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (int symmetry = 0; symmetry < 8; symmetry++) {
            uint8_t to[9] = {0};
            for (int i = 0; i < 9; i++) {
                int dx = i % 3 - 1, dy = 1 - i / 3, t;
                if (symmetry & 1) dx = -dx;
                if (symmetry & 2) dy = -dy;
                if (symmetry & 4) t = dx, dx = dy, dy = t;
                for (int k = 0; k < 8; k++)
                    if (direction[k] == dx + dy * STRIDE) to[i] = (uint8_t)k;
            }
            for (int swap = 0; swap < 2; swap++) shape_expand(facts, shapes[s], to, swap, 0, 0);
        }
    }
}

static int sides_facts(unsigned code)
{
    static const int of_empties[5] = {0, ONE_EMPTY, ONE_EMPTY | TWO_EMPTY, ONE_EMPTY | TWO_EMPTY | THREE_EMPTY,
                                      ONE_EMPTY | TWO_EMPTY | THREE_EMPTY};
    int empties = 0, touches = 0;
    for (int k = 0; k < 4; k++) {
        int c = around_get(code, k);
        if (c == EMPTY) empties++;
        if (c == BLACK || c == WHITE) touches |= c;
    }
    return of_empties[empties] | (touches == (BLACK | WHITE) ? TWO_COLOURS : 0) |
           (is_eye(code, BLACK) ? EYE_BLACK : 0) | (is_eye(code, WHITE) ? EYE_WHITE : 0);
}

static int scratch_init(void *memory)
{
    scratch *s = memory;
    for (unsigned code = 0; code < 65536; code++) s->facts[code] = (uint8_t)sides_facts(code);
    shapes_init(s->facts);
    rng r = {0x1970}; /* fixed: hashes travel between processes inside positions */
    for (int c = BLACK; c <= WHITE; c++)
        for (int p = 0; p < CELLS; p++) {
            uint64_t high = random_bits(&r);
            s->zobrist[c][p] = high << 32 | random_bits(&r);
        }
    return LR_OK;
}

/* ---- the board ----------------------------------------------------------------------------------- */

static void board_init(board *b, int size)
{
    memset(b, 0, sizeof *b);
    memset(b->cell, EDGE, sizeof b->cell);
    b->size = size;
    b->to_move = BLACK;
    b->last = b->before_last = NO_CELL;
    for (int move = 1; move <= size * size; move++) {
        int p = cell_of_move(size, move);
        b->cell[p] = EMPTY;
        b->empty_index[p] = (uint16_t)b->empty_count;
        b->empty[b->empty_count++] = (uint16_t)p;
    }
    for (int move = 1; move <= size * size; move++) {
        int p = cell_of_move(size, move);
        unsigned code = 0;
        for (int k = 0; k < 8; k++) code |= (unsigned)b->cell[p + direction[k]] << (2 * k);
        b->around[p] = (uint16_t)code;
    }
}

static void liberty_add(board *b, int g, int p)
{
    b->liberties[g]++;
    b->liberty_sum[g] += (uint32_t)p;
    b->liberty_squares[g] += (uint32_t)(p * p);
}

static void liberty_drop(board *b, int g, int p)
{
    b->liberties[g]--;
    b->liberty_sum[g] -= (uint32_t)p;
    b->liberty_squares[g] -= (uint32_t)(p * p);
}

static bool in_atari(const board *b, int g)
{
    return (uint64_t)b->liberties[g] * b->liberty_squares[g] == (uint64_t)b->liberty_sum[g] * b->liberty_sum[g];
}

/* The only liberty of a group in atari. */
static int atari_cell(const board *b, int g)
{
    return (int)(b->liberty_sum[g] / b->liberties[g]);
}

static void groups_join(board *b, int into, int from)
{
    b->liberties[into] = (uint16_t)(b->liberties[into] + b->liberties[from]);
    b->liberty_sum[into] += b->liberty_sum[from];
    b->liberty_squares[into] += b->liberty_squares[from];
    b->stones[into] = (uint16_t)(b->stones[into] + b->stones[from]);
    int p = from;
    do b->group[p] = (uint16_t)into, p = b->next[p];
    while (p != from);
    uint16_t t = b->next[into];
    b->next[into] = b->next[from];
    b->next[from] = t;
}

static void around_change(board *b, int p, int colour, int sign)
{
    for (int k = 0; k < 8; k++) {
        uint16_t *code = &b->around[p + direction[k]];
        *code = (uint16_t)(*code + sign * (colour << (2 * OPPOSITE(k))));
    }
}

static void group_remove(board *b, const scratch *s, int g)
{
    int p = g, colour = b->cell[g];
    int taken = b->stones[g];
    b->stone_count[colour] -= taken;
    b->captured[colour] += taken;
    do {
        b->cell[p] = EMPTY;
        b->hash ^= s->zobrist[colour][p];
        b->empty_index[p] = (uint16_t)b->empty_count;
        b->empty[b->empty_count++] = (uint16_t)p;
        around_change(b, p, colour, -1);
        for (int k = 0; k < 4; k++) {
            int q = p + direction[k];
            if (b->cell[q] == OTHER(colour)) liberty_add(b, b->group[q], p);
        }
        p = b->next[p];
    } while (p != g);
}

/* Puts a stone; the move must be legal. Sets ko. Leaves to_move and last alone. */
static void stone_put(board *b, const scratch *s, int colour, int p)
{
    int at = b->empty_index[p];
    int moved = b->empty[--b->empty_count];
    b->empty[at] = (uint16_t)moved;
    b->empty_index[moved] = (uint16_t)at;
    b->cell[p] = (uint8_t)colour;
    b->hash ^= s->zobrist[colour][p];
    b->stone_count[colour]++;
    around_change(b, p, colour, 1);
    b->group[p] = b->next[p] = (uint16_t)p;
    b->stones[p] = 1;
    b->liberties[p] = 0;
    b->liberty_sum[p] = b->liberty_squares[p] = 0;
    int g = p, taken = 0, taken_cell = 0;
    for (int k = 0; k < 4; k++) {
        int q = p + direction[k], c = b->cell[q];
        if (c == EMPTY) liberty_add(b, g, q);
        else if (c != EDGE) liberty_drop(b, b->group[q], p);
        if (c == colour && b->group[q] != g) {
            int h = b->group[q];
            if (b->stones[h] > b->stones[g]) groups_join(b, h, g), g = h;
            else groups_join(b, g, h);
        }
    }
    for (int k = 0; k < 4; k++) {
        int q = p + direction[k];
        if (b->cell[q] == OTHER(colour) && b->liberties[b->group[q]] == 0) {
            taken += b->stones[b->group[q]];
            taken_cell = q;
            group_remove(b, s, b->group[q]);
        }
    }
    b->ko = taken == 1 && b->stones[g] == 1 && b->liberties[g] == 1 ? taken_cell : 0;
}

/* Plays for the side to move; p may be PASS_CELL. */
static void board_play(board *b, const scratch *s, int p)
{
    if (p == PASS_CELL) b->ko = 0;
    else stone_put(b, s, b->to_move, p);
    b->to_move = OTHER(b->to_move);
    b->before_last = b->last;
    b->last = p;
}

enum refusal { LEGAL, OCCUPIED, KO, SUICIDE, SUPERKO };
static const char *const refusal_words[] = {"legal", "occupied", "ko", "suicide", "superko"};

/* Everything but superko. */
static enum refusal move_check(const board *b, const scratch *s, int colour, int p)
{
    if (b->cell[p] != EMPTY) return OCCUPIED;
    if (s->facts[b->around[p]] & ONE_EMPTY) return p == b->ko && colour == b->to_move ? KO : LEGAL;
    for (int k = 0; k < 4; k++) {
        int q = p + direction[k], c = b->cell[q];
        if (c == EDGE) continue;
        if ((c == colour) != in_atari(b, b->group[q])) return p == b->ko && colour == b->to_move ? KO : LEGAL;
    }
    return SUICIDE;
}

/* What the group made by colour at p would be. */
typedef struct outcome {
    int liberties; /* 0, 1, or 2 for two and more */
    int stones;
    int taken;
} outcome;

/* Exact but for liberties won by taking, which are counted as those beside p, and as two when two
 * stones fall. Costs no walk: sums of pseudo liberties of the joined groups, less those at p. */
static outcome move_outcome(const board *b, const scratch *s, int colour, int p)
{
    outcome o = {2, 1, 0};
    (void)s;
    uint32_t count = 0;
    uint64_t sum = 0, squares = 0;
    int joined[4], joined_count = 0;
    for (int k = 0; k < 4; k++) {
        int q = p + direction[k], c = b->cell[q];
        if (c == EMPTY) {
            count++, sum += (uint32_t)q, squares += (uint32_t)(q * q);
        } else if (c == colour) {
            int g = b->group[q];
            bool again = false;
            for (int j = 0; j < joined_count; j++) again |= joined[j] == g;
            count--, sum -= (uint32_t)p, squares -= (uint32_t)(p * p);
            if (again) continue;
            joined[joined_count++] = g;
            o.stones += b->stones[g];
            count += b->liberties[g], sum += b->liberty_sum[g], squares += b->liberty_squares[g];
        } else if (c == OTHER(colour) && in_atari(b, b->group[q])) {
            o.taken += b->stones[b->group[q]];
            count++, sum += (uint32_t)q, squares += (uint32_t)(q * q);
        }
    }
    if (count == 0) o.liberties = 0;
    else if (o.taken < 2 && count * squares == sum * sum) o.liberties = 1;
    return o;
}

/* Area score from black's side, without komi, every stone alive: stones, and empty regions that touch one colour. */
static int area_score(const board *b, scratch *s, uint8_t *owner)
{
    int score = b->stone_count[BLACK] - b->stone_count[WHITE];
    uint16_t stack[POINTS];
    memset(s->mark, 0, sizeof s->mark);
    for (int i = 0; i < b->empty_count; i++) {
        int start = b->empty[i], top = 0, region = 0, touches = 0;
        if (s->mark[start]) continue;
        uint16_t seen[POINTS];
        stack[top++] = (uint16_t)start;
        s->mark[start] = 1;
        while (top > 0) {
            int p = stack[--top];
            seen[region++] = (uint16_t)p;
            for (int k = 0; k < 4; k++) {
                int q = p + direction[k], c = b->cell[q];
                if (c == EMPTY && !s->mark[q]) s->mark[q] = 1, stack[top++] = (uint16_t)q;
                else if (c == BLACK || c == WHITE) touches |= c;
            }
        }
        if (touches == BLACK) score += region;
        if (touches == WHITE) score -= region;
        if (owner)
            for (int j = 0; j < region; j++) owner[seen[j]] = (uint8_t)(touches == 3 ? EMPTY : touches);
    }
    return score;
}

/* ---- playouts ------------------------------------------------------------------------------------- */

/* Where colour can save group g, which is in atari: its liberty when that gains liberties, or taking
 * a neighbour that is in atari itself. Appends to out. */
static int saves_find(const board *b, const scratch *s, int colour, int g, int *out, int count, int cap)
{
    int way_out = atari_cell(b, g);
    outcome o = move_outcome(b, s, colour, way_out);
    if (o.liberties >= 2 && way_out != b->ko && count < cap) out[count++] = way_out;
    int p = g;
    do {
        for (int k = 0; k < 4; k++) {
            int q = p + direction[k];
            if (b->cell[q] != OTHER(colour) || !in_atari(b, b->group[q])) continue;
            int take = atari_cell(b, b->group[q]);
            if (take != b->ko && take != way_out && count < cap) out[count++] = take;
        }
        p = b->next[p];
    } while (p != g);
    return count;
}

/* Answers to the last move that concern atari: take the stone just played, save what it attacks. */
static int atari_answers(const board *b, const scratch *s, int colour, int *out, int cap)
{
    int count = 0, last = b->last;
    int g = b->group[last];
    if (in_atari(b, g)) {
        int take = atari_cell(b, g);
        if (take != b->ko) out[count++] = take;
    }
    for (int k = 0; k < 4; k++) {
        int q = last + direction[k];
        if (b->cell[q] == colour && in_atari(b, b->group[q]))
            count = saves_find(b, s, colour, b->group[q], out, count, cap);
    }
    return count;
}

/* Takes what our own previous move put in atari and the other side left there: who is first in a race for liberties
 * wins it. (Gelly et al. 2006 look for stones to take on the whole board; this costs four looks.) */
static int follow_up(const board *b, int colour, int *out, int count)
{
    if (b->before_last == PASS_CELL || b->before_last == NO_CELL) return count;
    for (int k = 0; k < 4; k++) {
        int q = b->before_last + direction[k];
        if (b->cell[q] != OTHER(colour) || !in_atari(b, b->group[q])) continue;
        int take = atari_cell(b, b->group[q]);
        if (take != b->ko) out[count++] = take;
    }
    return count;
}

/* A move no playout should make for fun: it leaves the stones it joins in atari. A lone stone may be
 * thrown in, and so may what is small enough to fill an eye space. */
static bool is_bad_self_atari(const board *b, const scratch *s, int colour, int p)
{
    if (s->facts[b->around[p]] & TWO_EMPTY) return false;
    outcome o = move_outcome(b, s, colour, p);
    return o.liberties < 2 && o.taken == 0 && o.stones > 1;
}

static int shape_moves(const board *b, const scratch *s, int colour, int around, int *out)
{
    int shape = SHAPE_FOR(colour), count = 0;
    for (int k = 0; k < 8; k++) {
        int p = around + direction[k];
        if (b->cell[p] == EMPTY && (s->facts[b->around[p]] & shape) &&
            move_check(b, s, colour, p) == LEGAL && !is_bad_self_atari(b, s, colour, p))
            out[count++] = p;
    }
    return count;
}

static int random_move(const board *b, const scratch *s, int colour, rng *r)
{
    int n = b->empty_count;
    if (n == 0) return PASS_CELL;
    int own_eye = EYE_OF(colour);
    int start = random_below(r, n);
    for (int i = 0, at = start; i < n; i++) {
        int p = b->empty[at];
        if (++at == n) at = 0;
        if (s->facts[b->around[p]] & own_eye) continue;
        if (move_check(b, s, colour, p) != LEGAL) continue;
        if (is_bad_self_atari(b, s, colour, p)) continue;
        return p;
    }
    return PASS_CELL;
}

/* Adds to *touches the colours beside an empty point; returns how many of its sides are empty, the last of them in
 * *beside, `but` aside. */
static int sides_look(const board *b, int p, int but, int *touches, int *beside)
{
    int empties = 0;
    for (int k = 0; k < 4; k++) {
        int q = p + direction[k], c = b->cell[q];
        if (c == BLACK || c == WHITE) *touches |= c;
        if (c != EMPTY || q == but) continue;
        empties++;
        *beside = q;
    }
    return empties;
}

/* The point that decides an eye space of three empty points beside the last move: its middle, when stones of
 * one colour alone surround it ("nakade", Chaslot et al. 2009). Whoever plays there makes one eye of it or
 * two. Returns 0 when there is none. */
static int nakade_find(const board *b, const scratch *s, int last)
{
    const int wanted = ONE_EMPTY | THREE_EMPTY | TWO_COLOURS; /* one or two empty sides, one colour */
    for (int k = 0; k < 4; k++) {
        int p = last + direction[k], touches = 0, one = 0, other = 0, none;
        if (b->cell[p] != EMPTY || (s->facts[b->around[p]] & wanted) != ONE_EMPTY) continue;
        if (sides_look(b, p, 0, &touches, &one) == 2) { /* p is the middle: both ends must be ends */
            if (sides_look(b, p, one, &touches, &other) != 1 || touches == (BLACK | WHITE)) continue;
            if (sides_look(b, one, p, &touches, &none) || sides_look(b, other, p, &touches, &none)) continue;
        } else { /* p is an end: what is beside it is the middle, and beyond that another end */
            if (sides_look(b, one, p, &touches, &other) != 1 || touches == (BLACK | WHITE)) continue;
            if (sides_look(b, other, one, &touches, &none)) continue;
            p = one;
        }
        if (touches != (BLACK | WHITE)) return p;
    }
    return 0;
}

static int playout_move(const board *b, const scratch *s, rng *r)
{
    int colour = b->to_move, moves[40];
    if (b->last != PASS_CELL && b->last != NO_CELL) {
        int count = follow_up(b, colour, moves, atari_answers(b, s, colour, moves, 24));
        if (count > 0) return moves[random_below(r, count)];
        int p = nakade_find(b, s, b->last);
        if (p && move_check(b, s, colour, p) == LEGAL) return p;
        count = shape_moves(b, s, colour, b->last, moves);
        if (count > 0) return moves[random_below(r, count)];
    }
    return random_move(b, s, colour, r);
}

/* Stones and one-point eyes: what remains when a playout has ended. */
static int playout_score(const board *b)
{
    int score = b->stone_count[BLACK] - b->stone_count[WHITE];
    for (int i = 0; i < b->empty_count; i++) {
        unsigned code = b->around[b->empty[i]];
        int touches = 0;
        for (int k = 0; k < 4; k++) touches |= around_get(code, k) == EDGE ? 0 : 1 << around_get(code, k);
        if (touches == 1 << BLACK) score++;
        if (touches == 1 << WHITE) score--;
    }
    return score;
}

/* Plays s->play to its end and returns black's score without komi. Notes in s->first and s->order who
 * was first on which point. */
static int playout_run(scratch *s, rng *r, int *order_count)
{
    board *b = &s->play;
    int points = b->size * b->size, mercy = points * 2 / 5, noted = 0;
    int passes = b->last == PASS_CELL;
    if (passes && b->before_last == PASS_CELL) passes = 2;
    for (int length = 0; passes < 2 && length < 3 * points; length++) {
        int p = playout_move(b, s, r), colour = b->to_move;
        passes = p == PASS_CELL ? passes + 1 : 0;
        if (p != PASS_CELL && s->first[p] == 0) {
            s->first[p] = (uint8_t)colour;
            s->order[noted++] = (uint16_t)p;
        }
        board_play(b, s, p);
        int ahead = b->stone_count[BLACK] - b->stone_count[WHITE];
        if (ahead > mercy || -ahead > mercy) break;
    }
    *order_count = noted;
    return playout_score(b);
}

/* ---- position format ------------------------------------------------------------------------------ */

/* Byte offsets; 16-bit numbers are stored low byte first, cells as moves (0 pass, 0xffff none).
 * The hashes of all earlier positions of the game follow the cells; they may be left out where superko does not
 * matter (playouts). */
enum {
    AT_MAGIC = 0, AT_VERSION = 1, AT_SIZE = 2, AT_TO_MOVE = 3, AT_KO = 4, AT_LAST = 6, AT_BEFORE_LAST = 8,
    AT_CAPTURED_BLACK = 10, AT_CAPTURED_WHITE = 12, AT_CELLS = 16
};

static unsigned get16(const char *at)
{
    return (unsigned)(uint8_t)at[0] | (unsigned)(uint8_t)at[1] << 8;
}

static void put16(char *at, unsigned v)
{
    at[0] = (char)(v & 255), at[1] = (char)(v >> 8 & 255);
}

/* Puts the stones of n*n bytes on an empty board. Any order of stones is fine: while stones are
 * missing, a group has only more liberties. */
static int stones_read(lr_call *call, int argument, scratch *s, board *b, const char *cells)
{
    int points = b->size * b->size;
    char name[8];
    for (int i = 0; i < points; i++) {
        int c = (uint8_t)cells[i], p = cell_of_move(b->size, i + 1);
        if (c > WHITE)
            return lr_fail(call, "argument %d: point %s holds %d; 0, 1 or 2 wanted", argument, cell_name(p, name), c);
        if (c == EMPTY) continue;
        stone_put(b, s, c, p);
        if (b->cell[p] != c || b->captured[BLACK] || b->captured[WHITE])
            return lr_fail(call, "argument %d: stones without a liberty near %s", argument, cell_name(p, name));
    }
    for (int move = 1; move <= points; move++) {
        int p = cell_of_move(b->size, move);
        if (b->cell[p] != EMPTY && b->liberties[b->group[p]] == 0)
            return lr_fail(call, "argument %d: stones without a liberty near %s", argument, cell_name(p, name));
    }
    b->ko = 0;
    return LR_OK;
}

static int recent_cell(int size, unsigned move)
{
    if (move == NO_CELL || move > (unsigned)(size * size)) return NO_CELL;
    return move == 0 ? PASS_CELL : cell_of_move(size, (int)move);
}

/* Reads a position into s->start, and its history with the position itself into s->history. */
static int position_read(lr_call *call, int argument, scratch *s)
{
    const char *bytes;
    size_t length;
    if (lr_arg_string(call, argument, &bytes, &length)) return LR_ERR;
    if (length < AT_CELLS || bytes[AT_MAGIC] != 'G' || bytes[AT_VERSION] != 1)
        return lr_fail(call, "argument %d: not a Go position (as made by new, setup or play)", argument);
    int size = (uint8_t)bytes[AT_SIZE], to_move = bytes[AT_TO_MOVE];
    if (size < MIN_SIZE || size > MAX_SIZE)
        return lr_fail(call, "argument %d: a board of %d by %d; 5 to 19 wanted", argument, size, size);
    size_t points = (size_t)(size * size), head = AT_CELLS + points;
    if (length < head || (length - head) % 8 != 0 || (length - head) / 8 > MAX_HISTORY)
        return lr_fail(call, "argument %d: a position of %zu bytes; %zu and at most %d hashes of 8 wanted", argument,
                       length, head, MAX_HISTORY);
    if (to_move != BLACK && to_move != WHITE)
        return lr_fail(call, "argument %d: side to move is %d; 1 or 2 wanted", argument, to_move);
    board *b = &s->start;
    board_init(b, size);
    if (stones_read(call, argument, s, b, bytes + AT_CELLS)) return LR_ERR;
    unsigned ko = get16(bytes + AT_KO);
    b->to_move = to_move;
    if (ko >= 1 && ko <= points) b->ko = cell_of_move(size, (int)ko);
    b->last = recent_cell(size, get16(bytes + AT_LAST));
    b->before_last = recent_cell(size, get16(bytes + AT_BEFORE_LAST));
    if (b->last > 0 && b->last != NO_CELL && b->cell[b->last] == EMPTY) b->last = NO_CELL;
    b->captured[BLACK] = (int)get16(bytes + AT_CAPTURED_BLACK);
    b->captured[WHITE] = (int)get16(bytes + AT_CAPTURED_WHITE);
    s->history_count = (int)((length - head) / 8);
    memcpy(s->history, bytes + head, length - head);
    s->history[s->history_count++] = b->hash;
    return LR_OK;
}

/* Returns the board as a position; history is what s->history holds, less the board itself. */
static int position_return(lr_call *call, const scratch *s, const board *b)
{
    static _Thread_local char bytes[AT_CELLS + POINTS + 8 * (MAX_HISTORY + MAX_PATH)];
    int points = b->size * b->size;
    size_t head = (size_t)(AT_CELLS + points);
    int history = s->history_count < MAX_HISTORY ? s->history_count : MAX_HISTORY;
    memset(bytes, 0, head);
    bytes[AT_MAGIC] = 'G', bytes[AT_VERSION] = 1;
    bytes[AT_SIZE] = (char)b->size, bytes[AT_TO_MOVE] = (char)b->to_move;
    put16(bytes + AT_KO, b->ko ? (unsigned)move_of_cell(b->size, b->ko) : 0);
    put16(bytes + AT_LAST, b->last == NO_CELL ? NO_CELL : (unsigned)move_of_cell(b->size, b->last));
    put16(bytes + AT_BEFORE_LAST,
          b->before_last == NO_CELL ? NO_CELL : (unsigned)move_of_cell(b->size, b->before_last));
    put16(bytes + AT_CAPTURED_BLACK, (unsigned)b->captured[BLACK]);
    put16(bytes + AT_CAPTURED_WHITE, (unsigned)b->captured[WHITE]);
    for (int i = 0; i < points; i++) bytes[AT_CELLS + i] = (char)b->cell[cell_of_move(b->size, i + 1)];
    memcpy(bytes + head, s->history + (s->history_count - history), (size_t)history * 8);
    return lr_return_string(call, bytes, head + (size_t)history * 8);
}

/* ---- superko ---------------------------------------------------------------------------------------- */

static void seen_add(scratch *s, uint64_t hash)
{
    s->seen[hash >> 6 & 255] |= (uint64_t)1 << (hash & 63);
}

static void seen_build(scratch *s)
{
    memset(s->seen, 0, sizeof s->seen);
    for (int i = 0; i < s->history_count; i++) seen_add(s, s->history[i]);
}

static uint64_t hash_after(const board *b, const scratch *s, int colour, int p)
{
    uint64_t hash = b->hash ^ s->zobrist[colour][p];
    int counted[4], counted_count = 0;
    for (int k = 0; k < 4; k++) {
        int q = p + direction[k];
        if (b->cell[q] != OTHER(colour) || !in_atari(b, b->group[q])) continue;
        int g = b->group[q], stone = g;
        bool again = false;
        for (int i = 0; i < counted_count; i++) again |= counted[i] == g;
        if (again) continue;
        counted[counted_count++] = g;
        do hash ^= s->zobrist[OTHER(colour)][stone], stone = b->next[stone];
        while (stone != g);
    }
    return hash;
}

/* Everything, with positional superko over s->history; seen_build must have been called. */
static enum refusal move_check_all(const board *b, const scratch *s, int colour, int p)
{
    enum refusal r = move_check(b, s, colour, p);
    if (r != LEGAL) return r;
    uint64_t hash = hash_after(b, s, colour, p);
    if (!(s->seen[hash >> 6 & 255] >> (hash & 63) & 1)) return LEGAL;
    for (int i = s->history_count - 1; i >= 0; i--)
        if (s->history[i] == hash) return SUPERKO;
    return LEGAL;
}

/* Where reading a string of paths has come to. Without a string there is one path, and it is empty. */
typedef struct paths {
    const char *bytes;
    size_t length, at;
    int argument, count, index, base_history;
} paths;

/* Counts the paths and keeps the position that was read for each to start from. */
static int paths_open(lr_call *call, int argument, scratch *s, paths *out)
{
    *out = (paths){"\0", 2, 0, argument, 0, 0, s->history_count};
    if (!lr_arg_is_nil(call, argument) && lr_arg_string(call, argument, &out->bytes, &out->length)) return LR_ERR;
    for (size_t at = 0; at < out->length; out->count++) {
        size_t left = out->length - at, moves = left >= 2 ? get16(out->bytes + at) : 0;
        if (left < 2 || moves > MAX_PATH || left < 2 + 2 * moves)
            return lr_fail(call, "argument %d: path %d does not fit its string: %zu bytes are left; two for its number "
                           "of moves and two for each of at most %d moves wanted",
                           argument, out->count + 1, left, MAX_PATH);
        at += 2 + 2 * moves;
    }
    if (out->count < 1 || out->count > MAX_PATHS)
        return lr_fail(call, "argument %d: %d paths; 1 to %d wanted", argument, out->count, MAX_PATHS);
    s->base = s->start;
    return LR_OK;
}

/* Plays one move of a path on s->start and notes the position in the history. */
static int path_step(lr_call *call, const paths *ps, scratch *s, size_t number, unsigned move)
{
    board *b = &s->start;
    char name[8];
    if (move > (unsigned)(b->size * b->size))
        return lr_fail(call, "argument %d: move %zu of path %d is %u; 0 to %d wanted", ps->argument, number,
                       ps->index, move, b->size * b->size);
    int p = move == 0 ? PASS_CELL : cell_of_move(b->size, (int)move);
    enum refusal r = p == PASS_CELL ? LEGAL : move_check(b, s, b->to_move, p);
    if (r != LEGAL)
        return lr_fail(call, "argument %d: move %zu of path %d, %s, is not legal: %s", ps->argument, number,
                       ps->index, cell_name(p, name), refusal_words[r]);
    board_play(b, s, p);
    if (p != PASS_CELL) s->history[s->history_count++] = b->hash;
    return LR_OK;
}

/* Leaves in s->start and s->history where the next path ends. */
static int path_next(lr_call *call, paths *ps, scratch *s)
{
    size_t moves = get16(ps->bytes + ps->at);
    const char *move = ps->bytes + ps->at + 2;
    s->history_count = ps->base_history;
    s->start = s->base;
    ps->index++;
    ps->at += 2 + 2 * moves;
    for (size_t i = 0; i < moves; i++)
        if (path_step(call, ps, s, i + 1, get16(move + 2 * i))) return LR_ERR;
    return LR_OK;
}

static scratch *scratch_get(lr_call *call)
{
    return lr_worker_state(call, sizeof(scratch), scratch_init, NULL);
}

/* ---- kernels: rules ----------------------------------------------------------------------------------- */

static int size_read(lr_call *call, int argument, int *size)
{
    int64_t n;
    if (lr_arg_integer(call, argument, &n)) return LR_ERR;
    if (n < MIN_SIZE || n > MAX_SIZE)
        return lr_fail(call, "argument %d: a board of %lld by %lld; 5 to 19 wanted", argument, (long long)n,
                       (long long)n);
    *size = (int)n;
    return LR_OK;
}

static int colour_read(lr_call *call, int argument, int *colour)
{
    int64_t c;
    if (lr_arg_integer(call, argument, &c)) return LR_ERR;
    if (c != BLACK && c != WHITE)
        return lr_fail(call, "argument %d: colour %lld; 1 (black) or 2 (white) wanted", argument, (long long)c);
    *colour = (int)c;
    return LR_OK;
}

static int kernel_new(lr_call *call)
{
    int size;
    scratch *s = scratch_get(call);
    if (!s || size_read(call, 1, &size)) return LR_ERR;
    board_init(&s->start, size);
    s->history_count = 0;
    return position_return(call, s, &s->start);
}

static int kernel_setup(lr_call *call)
{
    int size, colour;
    const char *cells;
    size_t length;
    scratch *s = scratch_get(call);
    if (!s || size_read(call, 1, &size) || lr_arg_string(call, 2, &cells, &length) || colour_read(call, 3, &colour))
        return LR_ERR;
    if (length != (size_t)(size * size))
        return lr_fail(call, "argument 2: %zu points; %d wanted", length, size * size);
    board_init(&s->start, size);
    if (stones_read(call, 2, s, &s->start, cells)) return LR_ERR;
    s->start.to_move = colour;
    s->history_count = 0;
    return position_return(call, s, &s->start);
}

static int kernel_play(lr_call *call)
{
    int colour;
    int64_t move;
    scratch *s = scratch_get(call);
    if (!s || position_read(call, 1, s) || colour_read(call, 2, &colour) || lr_arg_integer(call, 3, &move))
        return LR_ERR;
    board *b = &s->start;
    if (move < 0 || move > b->size * b->size)
        return lr_fail(call, "argument 3: move %lld; 0 (pass) to %d wanted", (long long)move, b->size * b->size);
    int p = move == 0 ? PASS_CELL : cell_of_move(b->size, (int)move);
    if (p != PASS_CELL) {
        seen_build(s);
        enum refusal r = move_check_all(b, s, colour, p);
        if (r != LEGAL)
            return lr_return_nil(call) || lr_return_string(call, refusal_words[r], strlen(refusal_words[r]));
    }
    b->to_move = colour;
    board_play(b, s, p);
    return position_return(call, s, b);
}

static int kernel_legal(lr_call *call)
{
    int colour;
    scratch *s = scratch_get(call);
    if (!s || position_read(call, 1, s) || colour_read(call, 2, &colour)) return LR_ERR;
    seen_build(s);
    char reasons[POINTS];
    int points = s->start.size * s->start.size;
    for (int i = 0; i < points; i++)
        reasons[i] = (char)move_check_all(&s->start, s, colour, cell_of_move(s->start.size, i + 1));
    return lr_return_string(call, reasons, (size_t)points);
}

/* Takes off the stones that dead (n*n bytes, or nil) marks. */
static int dead_remove(lr_call *call, int argument, scratch *s)
{
    const char *dead;
    size_t length;
    board *b = &s->start;
    int points = b->size * b->size;
    if (lr_arg_is_nil(call, argument)) return LR_OK;
    if (lr_arg_string(call, argument, &dead, &length)) return LR_ERR;
    if (length != (size_t)points) return lr_fail(call, "argument %d: %zu points; %d wanted", argument, length, points);
    for (int i = 0; i < points; i++) {
        int p = cell_of_move(b->size, i + 1);
        if (dead[i] && (b->cell[p] == BLACK || b->cell[p] == WHITE)) group_remove(b, s, b->group[p]);
    }
    return LR_OK;
}

static int kernel_score(lr_call *call)
{
    scratch *s = scratch_get(call);
    if (!s || position_read(call, 1, s) || dead_remove(call, 2, s)) return LR_ERR;
    return lr_return_integer(call, area_score(&s->start, s, NULL));
}

/* ---- kernels: search ------------------------------------------------------------------------------------ */

/* The seed of a batch: the argument where there is one (a game that can be repeated), else the task's own stream. */
static int seed_read(lr_call *call, int argument, rng *r)
{
    if (lr_arg_is_nil(call, argument)) {
        r->state = lr_random(call);
        return LR_OK;
    }
    int64_t seed;
    if (lr_arg_integer(call, argument, &seed)) return LR_ERR;
    r->state = mix((uint64_t)seed + 0x9e3779b97f4a7c15u);
    return LR_OK;
}

static int batch_read(lr_call *call, int argument, int *playouts)
{
    int64_t n;
    if (lr_arg_integer(call, argument, &n)) return LR_ERR;
    if (n < 1 || n > MAX_PLAYOUTS)
        return lr_fail(call, "argument %d: %lld playouts; 1 to %d wanted", argument, (long long)n, MAX_PLAYOUTS);
    *playouts = (int)n;
    return LR_OK;
}

static int komi_read(lr_call *call, int argument, double *komi)
{
    if (lr_arg_number(call, argument, komi)) return LR_ERR;
    if (!(*komi >= -1000 && *komi <= 1000)) return lr_fail(call, "argument %d: komi out of range", argument);
    return LR_OK;
}

/* Black's result of a score in halves: 2 a win, 1 a jigo, 0 a loss. */
static unsigned result_of(double score)
{
    return score > 0 ? 2 : score < 0 ? 0 : 1;
}

static void amaf_count(scratch *s, unsigned result, int order_count)
{
    unsigned wins[3] = {0, result, 2 - result};
    for (int i = 0; i < order_count; i++) {
        int p = s->order[i], colour = s->first[p];
        s->amaf_visits[colour][p]++;
        s->amaf_wins[colour][p] += wins[colour];
        s->first[p] = 0;
    }
}

/* Writes the four rows of one leaf: black's visits and wins, white's visits and wins, by move. What stands in
 * the place of the pass is of all games. */
static void amaf_write(const scratch *s, float *row, int playouts, unsigned black_wins)
{
    int size = s->start.size, columns = size * size + 1;
    for (int colour = BLACK; colour <= WHITE; colour++, row += 2 * columns) {
        float *wins = row + columns;
        row[0] = (float)playouts;
        wins[0] = (float)(colour == BLACK ? black_wins : 2 * (unsigned)playouts - black_wins) * 0.5f;
        for (int move = 1; move < columns; move++) {
            int p = cell_of_move(size, move);
            row[move] = (float)s->amaf_visits[colour][p];
            wins[move] = (float)s->amaf_wins[colour][p] * 0.5f;
        }
    }
}

/* Plays up to `playouts` games from s->start; returns how many, fewer when cancelled. */
static int leaf_run(lr_call *call, scratch *s, rng *r, double komi, int playouts, unsigned *wins, double *score_sum)
{
    const board *b = &s->start;
    bool over = b->last == PASS_CELL && b->before_last == PASS_CELL;
    int done;
    memset(s->amaf_visits, 0, sizeof s->amaf_visits);
    memset(s->amaf_wins, 0, sizeof s->amaf_wins);
    memset(s->first, 0, sizeof s->first);
    *wins = 0;
    for (done = 0; done < playouts && !lr_cancelled(call); done++) {
        int order_count = 0;
        double score;
        s->play = s->start;
        if (over) score = area_score(b, s, NULL) - komi;
        else score = playout_run(s, r, &order_count) - komi;
        *score_sum += score;
        *wins += result_of(score);
        amaf_count(s, result_of(score), order_count);
    }
    return done;
}

static int kernel_playout(lr_call *call)
{
    double komi, score_sum = 0;
    int playouts, total = 0;
    rng r;
    paths ps;
    lr_tensor t;
    scratch *s = scratch_get(call);
    if (!s || position_read(call, 1, s) || paths_open(call, 2, s, &ps) || komi_read(call, 3, &komi) ||
        batch_read(call, 4, &playouts) || seed_read(call, 5, &r))
        return LR_ERR;
    int64_t shape[3] = {ps.count, 4, s->base.size * s->base.size + 1};
    if (lr_return_tensor(call, LR_F32, 3, shape, &t)) return LR_ERR;
    for (int leaf = 0; leaf < ps.count; leaf++) {
        unsigned wins;
        if (path_next(call, &ps, s)) return LR_ERR;
        int done = leaf_run(call, s, &r, komi, playouts, &wins, &score_sum);
        amaf_write(s, (float *)t.data + leaf * 4 * shape[2], done, wins);
        total += done;
    }
    return lr_return_integer(call, total) || lr_return_number(call, total ? score_sum / total : 0);
}

/* Virtual visits of the priors (Gelly and Silver 2011, section 6; numbers found by matches against GNU Go). */
enum {
    PRIOR_EVEN = 10,
    PRIOR_SAVE_OR_TAKE = 15, /* more for two stones and over */
    PRIOR_SELF_ATARI = 10,
    PRIOR_SHAPE = 10,
    PRIOR_EMPTY_AREA = 10,
};
static const int prior_near[4] = {0, 24, 22, 8}; /* by distance from the last move */

/* Whether all points within distance 3 are empty. */
static bool is_lonely(const board *b, int p)
{
    int row = p / STRIDE, column = p % STRIDE;
    for (int y = row - 3; y <= row + 3; y++)
        for (int x = column - 3; x <= column + 3; x++) {
            if (y < 1 || x < 1 || y > b->size || x > b->size) continue;
            if ((y > row ? y - row : row - y) + (x > column ? x - column : column - x) > 3) continue;
            if (b->cell[y * STRIDE + x] != EMPTY) return false;
        }
    return true;
}

static int line_of(const board *b, int p)
{
    int y = p / STRIDE, x = p % STRIDE, line = y < x ? y : x;
    int far = b->size + 1 - (y > x ? y : x);
    return line < far ? line : far;
}

/* Steps from the last move, a chain of one colour being one step wide ("common fate", Graepel,
 * Goutrie, Kruger, Herbrich 2001), up to 3; 0 beyond. Fills s->mark. */
static void distances_find(const board *b, scratch *s)
{
    int count[5] = {0};
    memset(s->mark, 0, sizeof s->mark);
    if (b->last == PASS_CELL || b->last == NO_CELL) return;
    uint8_t distance[CELLS];
    memset(distance, 255, sizeof distance);
    /* Breadth first by rings; a step within a chain costs nothing and is queued in the same ring. */
    uint16_t rings[5][CELLS];
    rings[0][count[0]++] = (uint16_t)b->last;
    distance[b->last] = 0;
    for (int d = 0; d <= 3; d++)
        for (int i = 0; i < count[d]; i++) {
            int p = rings[d][i];
            if (distance[p] != d) continue;
            for (int k = 0; k < 4; k++) {
                int q = p + direction[k], c = b->cell[q];
                if (c == EDGE) continue;
                int to = c != EMPTY && c == b->cell[p] ? d : d + 1;
                if (to > 3 || distance[q] <= to) continue;
                distance[q] = (uint8_t)to;
                rings[to][count[to]++] = (uint16_t)q;
            }
        }
    for (int p = 0; p < CELLS; p++) s->mark[p] = distance[p] <= 3 ? distance[p] : 0;
}

/* Marks in bonus where stones are saved or taken: 1 for one stone, 2 for more. */
static void tactics_find(const board *b, const scratch *s, int colour, uint8_t bonus[CELLS])
{
    memset(bonus, 0, CELLS);
    for (int move = 1; move <= b->size * b->size; move++) {
        int p = cell_of_move(b->size, move), c = b->cell[p], moves[16], count = 0;
        if (c == EMPTY || b->group[p] != p || !in_atari(b, p)) continue;
        if (c == colour) count = saves_find(b, s, colour, p, moves, 0, 16);
        else moves[count++] = atari_cell(b, p);
        for (int i = 0; i < count; i++) {
            uint8_t worth = b->stones[p] > 1 ? 2 : 1;
            if (bonus[moves[i]] < worth) bonus[moves[i]] = worth;
        }
    }
}

typedef struct prior {
    float visits, wins;
} prior;

static void prior_add(prior *a, int visits, bool good)
{
    a->visits += (float)visits;
    if (good) a->wins += (float)visits;
}

static prior prior_of(const board *b, const scratch *s, int colour, int p, int bonus)
{
    prior a = {PRIOR_EVEN, PRIOR_EVEN / 2.0f};
    if (bonus) prior_add(&a, bonus * PRIOR_SAVE_OR_TAKE, true);
    outcome o = move_outcome(b, s, colour, p);
    if (o.liberties < 2) prior_add(&a, PRIOR_SELF_ATARI, false);
    else if (s->facts[b->around[p]] & SHAPE_FOR(colour)) prior_add(&a, PRIOR_SHAPE, true);
    prior_add(&a, prior_near[s->mark[p]], true);
    int line = line_of(b, p);
    if (line <= 3 && is_lonely(b, p)) prior_add(&a, PRIOR_EMPTY_AREA, line == 3);
    return a;
}

/* Two rows of one leaf, s->start: virtual visits and virtual wins by move. */
static void priors_write(scratch *s, float *visits)
{
    const board *b = &s->start;
    int colour = b->to_move, own_eye = EYE_OF(colour), columns = b->size * b->size + 1;
    float *wins = visits + columns;
    uint8_t bonus[CELLS];
    seen_build(s);
    distances_find(b, s);
    tactics_find(b, s, colour, bonus);
    visits[0] = PRIOR_EVEN, wins[0] = 1; /* a pass is rarely better than a move */
    for (int move = 1; move < columns; move++) {
        int p = cell_of_move(b->size, move);
        prior a = {-1, 0};
        if (b->cell[p] == EMPTY && !(s->facts[b->around[p]] & own_eye) && move_check_all(b, s, colour, p) == LEGAL)
            a = prior_of(b, s, colour, p, bonus[p]);
        visits[move] = a.visits, wins[move] = a.wins;
    }
}

static int kernel_expand(lr_call *call)
{
    paths ps;
    lr_tensor t;
    scratch *s = scratch_get(call);
    if (!s || position_read(call, 1, s) || paths_open(call, 2, s, &ps)) return LR_ERR;
    int64_t shape[3] = {ps.count, 2, s->base.size * s->base.size + 1};
    if (lr_return_tensor(call, LR_F32, 3, shape, &t)) return LR_ERR;
    for (int leaf = 0; leaf < ps.count; leaf++) {
        if (path_next(call, &ps, s)) return LR_ERR;
        priors_write(s, (float *)t.data + leaf * 2 * shape[2]);
    }
    return LR_OK;
}

/* ---- kernels: who owns what ------------------------------------------------------------------------------ */

/* Adds to s->owner, for each point, +1 where black holds it at the end of the playout, -1 where white does. */
static void owners_count(scratch *s)
{
    const board *b = &s->play;
    for (int move = 1; move <= b->size * b->size; move++) {
        int p = cell_of_move(b->size, move), c = b->cell[p];
        if (c == EMPTY) {
            int touches = 0;
            for (int k = 0; k < 4; k++)
                if (b->cell[p + direction[k]] != EDGE) touches |= 1 << b->cell[p + direction[k]];
            c = touches == 1 << BLACK ? BLACK : touches == 1 << WHITE ? WHITE : EMPTY;
        }
        s->owner[p] += c == BLACK ? 1 : c == WHITE ? -1 : 0;
    }
}

/* Marks every stone of groups that mostly end in hostile hands. */
static void dead_find(const scratch *s, int playouts, char dead[POINTS])
{
    const board *b = &s->start;
    int points = b->size * b->size;
    memset(dead, 0, POINTS);
    for (int i = 0; i < points; i++) {
        int g = cell_of_move(b->size, i + 1), stone = g;
        int64_t sum = 0;
        if (b->cell[g] == EMPTY || b->group[g] != g) continue;
        do sum += s->owner[stone], stone = b->next[stone];
        while (stone != g);
        if (b->cell[g] == WHITE) sum = -sum;
        if (2 * sum > -(int64_t)playouts * b->stones[g] / 2) continue;
        for (int move = 1; move <= points; move++) {
            int p = cell_of_move(b->size, move);
            if (b->cell[p] != EMPTY && b->group[p] == g) dead[move - 1] = 1;
        }
    }
}

static int owners_return(lr_call *call, const scratch *s, int size, int playouts)
{
    int64_t shape[1] = {size * size};
    lr_tensor t;
    if (lr_return_tensor(call, LR_F32, 1, shape, &t)) return LR_ERR;
    for (int i = 0; i < shape[0]; i++)
        ((float *)t.data)[i] = (float)s->owner[cell_of_move(size, i + 1)] / (float)playouts;
    return LR_OK;
}

static int kernel_judge(lr_call *call)
{
    int playouts, done, order_count;
    rng r;
    char dead[POINTS];
    uint8_t owner[CELLS] = {0};
    scratch *s = scratch_get(call);
    if (!s || position_read(call, 1, s) || batch_read(call, 2, &playouts) || seed_read(call, 3, &r)) return LR_ERR;
    memset(s->owner, 0, sizeof s->owner);
    for (done = 0; done < playouts && !lr_cancelled(call); done++) {
        s->play = s->start;
        s->play.last = s->play.before_last = NO_CELL; /* two passes ended the game: play it out all the same */
        playout_run(s, &r, &order_count);
        memset(s->first, 0, sizeof s->first);
        owners_count(s);
    }
    board *b = &s->start;
    int points = b->size * b->size;
    dead_find(s, done ? done : 1, dead);
    for (int i = 0; i < points; i++) {
        int p = cell_of_move(b->size, i + 1);
        if (dead[i] && b->cell[p] != EMPTY) group_remove(b, s, b->group[p]);
    }
    int score = area_score(b, s, owner);
    char area[POINTS];
    for (int i = 0; i < points; i++) {
        int p = cell_of_move(b->size, i + 1);
        area[i] = (char)(b->cell[p] == EMPTY ? owner[p] : b->cell[p]);
    }
    return lr_return_integer(call, score) || lr_return_string(call, dead, (size_t)points) ||
           lr_return_string(call, area, (size_t)points) || owners_return(call, s, b->size, done ? done : 1);
}

LR_KERNELS(
    {"new", kernel_new, "(size: integer) -> position", "An empty board, black to move", {0, 0, 0}},
    {"setup", kernel_setup, "(size: integer, cells: string[size*size], to_move: 1|2) -> position",
     "A position without a history; cells are bytes 0 empty, 1 black, 2 white, from A1 row by row", {0, 0, 0}},
    {"play", kernel_play, "(position, colour: 1|2, move: integer) -> position | nil, reason",
     "Plays a move; reason is occupied, ko, suicide or superko", {0, 0, 0}},
    {"legal", kernel_legal, "(position, colour: 1|2) -> string[n*n]",
     "For each point 0 legal, 1 occupied, 2 ko, 3 suicide, 4 superko", {0, 0, 0}},
    {"score", kernel_score, "(position, dead: string[n*n]|nil) -> integer",
     "Black's area less white's, without komi; all stones that dead does not mark are alive", {0, 0, 0}},
    {"judge", kernel_judge,
     "(position, playouts: integer, seed: integer|nil) -> score, dead: string[n*n], area: string[n*n], "
     "owner: f32[n*n]",
     "Estimates by playouts which stones are dead, and scores without them; owner is -1 white's to 1 black's",
     {0, 0, 0}},
    {"playout", kernel_playout,
     "(position, paths: string|nil, komi: number, playouts: integer, seed: integer|nil) -> amaf: f32[paths, 4, n*n+1], "
     "done: integer, score: number",
     "Plays so many games to the end from where each path leads. Rows of amaf are black's visits and wins, white's "
     "visits and wins, by first move; the pass column counts all games; a jigo is half a win. done is the number of "
     "games, fewer when cancelled; score their mean score for black", {0, 0, 0}},
    {"expand", kernel_expand, "(position, paths: string|nil) -> priors: f32[paths, 2, n*n+1]",
     "For each path and move (pass first) virtual visits, -1 where it is illegal or fills an own eye, and virtual wins",
     {0, 0, 0}})
