/* SPDX-License-Identifier: MIT
 *
 * Exact instruction counts for an emulated Thumb core, as native Unicorn callbacks.
 *
 * The block callback counts edges (previous block, block); everything else follows from the edges and from the length of each block in
 * instructions. Built as a shared library and bound by emulator_worker.py; includes no Unicorn header.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef int (*read_memory)(void *engine, uint64_t address, void *bytes, uint64_t size);
typedef int (*stop_engine)(void *engine);

struct block;

struct edge {
    struct block *to;
    struct edge *next;
    uint64_t count;
};

struct block {
    uint64_t address;
    uint32_t size;
    uint32_t instructions;
    struct edge *edges;
    struct block *next;
};

#define BUCKETS 4096u

struct counter {
    read_memory read;
    stop_engine stop;
    struct block *buckets[BUCKETS];
    struct block entry;
    struct block *last;
    uint64_t instructions;
    uint64_t limit;
    uint64_t edge_count;
    uint64_t fault_address;
    uint32_t fault_type;
    uint32_t failed;
};

/* One row of the export: from and to with their sizes, the destination's instructions, how often. */
struct row {
    uint64_t from;
    uint64_t to;
    uint64_t count;
    uint32_t from_size;
    uint32_t to_size;
    uint32_t to_instructions;
    uint32_t reserved;
};

struct counter *counter_new(read_memory read, stop_engine stop);
void counter_begin(struct counter *counter, uint64_t limit);
void counter_reset(struct counter *counter);
uint64_t counter_instructions(const struct counter *counter);
uint64_t counter_rows(const struct counter *counter);
void counter_export(const struct counter *counter, struct row *rows);
uint32_t counter_fault(const struct counter *counter, uint64_t *address);
uint32_t counter_failed(const struct counter *counter);
void counter_block(void *engine, uint64_t address, uint32_t size, void *user);
bool counter_invalid(void *engine, int type, uint64_t address, int size, int64_t value, void *user);

struct counter *counter_new(read_memory read, stop_engine stop)
{
    struct counter *counter = calloc(1, sizeof *counter);
    if (counter != NULL) {
        counter->read = read;
        counter->stop = stop;
        counter->last = &counter->entry;
    }
    return counter;
}

/* Start of a call: the next block has no predecessor. */
void counter_begin(struct counter *counter, uint64_t limit)
{
    counter->last = &counter->entry;
    counter->limit = limit >= UINT64_MAX - counter->instructions ? UINT64_MAX : counter->instructions + limit;
    counter->fault_type = 0;
    counter->fault_address = 0;
}

static void drop_edges(struct block *block)
{
    while (block->edges != NULL) {
        struct edge *gone = block->edges;
        block->edges = gone->next;
        free(gone);
    }
}

void counter_reset(struct counter *counter)
{
    drop_edges(&counter->entry);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct block *block = counter->buckets[i]; block != NULL; block = block->next) {
            drop_edges(block);
        }
    }
    counter->last = &counter->entry;
    counter->instructions = 0;
    counter->edge_count = 0;
}

uint64_t counter_instructions(const struct counter *counter)
{
    return counter->instructions;
}

uint64_t counter_rows(const struct counter *counter)
{
    return counter->edge_count;
}

static struct row *export_block(const struct block *block, struct row *row)
{
    for (const struct edge *edge = block->edges; edge != NULL; edge = edge->next) {
        row->from = block->address;
        row->from_size = block->size;
        row->to = edge->to->address;
        row->to_size = edge->to->size;
        row->to_instructions = edge->to->instructions;
        row->count = edge->count;
        row->reserved = 0;
        row++;
    }
    return row;
}

/* Fills counter_rows() rows. Edges of a call's first block come from address 0 with size 0. */
void counter_export(const struct counter *counter, struct row *rows)
{
    rows = export_block(&counter->entry, rows);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (const struct block *block = counter->buckets[i]; block != NULL; block = block->next) {
            rows = export_block(block, rows);
        }
    }
}

/* Kind (Unicorn's uc_mem_type) and address of the access that failed, or 0. */
uint32_t counter_fault(const struct counter *counter, uint64_t *address)
{
    *address = counter->fault_address;
    return counter->fault_type;
}

/* 1 when memory ran out or code could not be read, so that the counts are worthless. */
uint32_t counter_failed(const struct counter *counter)
{
    return counter->failed;
}

/* A halfword whose top five bits are 0b11101, 0b11110 or 0b11111 opens a 32-bit instruction (Armv7-M ARM, A5.1). */
static uint32_t thumb_instructions(const uint8_t *code, uint32_t size)
{
    uint32_t count = 0;
    for (uint32_t at = 0; at + 1 < size; count++) {
        at += (code[at + 1] >> 3) >= 0x1Du ? 4u : 2u;
    }
    return count;
}

static struct block *find_block(struct counter *counter, void *engine, uint64_t address, uint32_t size)
{
    struct block **bucket = &counter->buckets[(address >> 1) % BUCKETS];
    for (struct block *block = *bucket; block != NULL; block = block->next) {
        if (block->address == address && block->size == size) {
            return block;
        }
    }
    struct block *block = calloc(1, sizeof *block);
    uint8_t *code = malloc(size == 0 ? 1 : size);
    if (block == NULL || code == NULL || counter->read(engine, address, code, size) != 0) {
        free(block);
        free(code);
        return NULL;
    }
    block->address = address;
    block->size = size;
    block->instructions = thumb_instructions(code, size);
    block->next = *bucket;
    *bucket = block;
    free(code);
    return block;
}

/* The edge to that block, moved to the front of its source's list. */
static struct edge *find_edge(struct counter *counter, void *engine, uint64_t address, uint32_t size)
{
    struct block *from = counter->last;
    for (struct edge **link = &from->edges; *link != NULL; link = &(*link)->next) {
        struct edge *edge = *link;
        if (edge->to->address == address && edge->to->size == size) {
            *link = edge->next;
            edge->next = from->edges;
            from->edges = edge;
            return edge;
        }
    }
    struct block *to = find_block(counter, engine, address, size);
    struct edge *edge = to == NULL ? NULL : calloc(1, sizeof *edge);
    if (edge != NULL) {
        edge->to = to;
        edge->next = from->edges;
        from->edges = edge;
        counter->edge_count++;
    }
    return edge;
}

/* UC_HOOK_BLOCK. A block is counted when it is entered. */
void counter_block(void *engine, uint64_t address, uint32_t size, void *user)
{
    struct counter *counter = user;
    struct edge *edge = counter->last->edges;
    if (edge == NULL || edge->to->address != address || edge->to->size != size) {
        edge = find_edge(counter, engine, address, size);
        if (edge == NULL) {
            counter->failed = 1;
            (void)counter->stop(engine);
            return;
        }
    }
    edge->count++;
    counter->last = edge->to;
    counter->instructions += edge->to->instructions;
    if (counter->instructions > counter->limit) {
        (void)counter->stop(engine);
    }
}

/* UC_HOOK_MEM_INVALID: remember what failed and let the run end. */
bool counter_invalid(void *engine, int type, uint64_t address, int size, int64_t value, void *user)
{
    struct counter *counter = user;
    (void)engine;
    (void)size;
    (void)value;
    counter->fault_type = (uint32_t)type;
    counter->fault_address = address;
    return false;
}
