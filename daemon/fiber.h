/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stacks of their own for calls that must be able to wait in the middle: such a call is suspended where it
 * is and goes on there later, all in one thread. */
#ifndef FIBER_H
#define FIBER_H

#include <stdbool.h>
#include <stddef.h>

/* The stack of one, in bytes of address space; a page takes memory when it was used. Sanitizers make
 * frames larger. */
#ifdef SANITIZED
enum { FIBER_STACK_SIZE = 1024 * 1024 };
#else
enum { FIBER_STACK_SIZE = 256 * 1024 };
#endif

struct fibers;
struct fiber;

/* A pool of at most so many. NULL: no memory. Stacks are made when they are first needed and kept. */
struct fibers *fibers_new(unsigned most);
/* None may be taken any more. NULL is fine. */
void fibers_free(struct fibers *fibers);
unsigned fibers_most(const struct fibers *fibers);

/* Takes one out of the pool: NULL, all are taken, or there is no memory for one more. */
struct fiber *fiber_take(struct fibers *fibers);
/* Only one that has ended, or was not started. */
void fiber_give_back(struct fibers *fibers, struct fiber *fiber);
/* From 0 to fibers_most() - 1: stays its own. */
unsigned fiber_number(const struct fiber *fiber);

/* Runs the function on the fiber's stack until it returns or suspends itself. Not from within a fiber. */
void fiber_start(struct fiber *fiber, void (*run)(void *context), void *context);
/* Lets it go on where it suspended itself. Not from within a fiber. */
void fiber_resume(struct fiber *fiber);
/* Whether its function has returned. */
bool fiber_ended(const struct fiber *fiber);
/* From within one: back to whoever started or resumed it, until it is resumed. */
void fiber_suspend(void);
/* The one whose stack this is, NULL: the thread's own. */
struct fiber *fiber_current(void);

#endif
