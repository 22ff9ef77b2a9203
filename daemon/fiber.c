// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Calls that wait in the middle, by the C library's contexts. Touches stacks that it maps itself, each
 * between two pages that nobody may touch. Never frees a stack on which a call is suspended: who wants to
 * be rid of it resumes the call and has it fail.
 *
 * swapcontext() asks the kernel for the signal mask each time, which is the same on all stacks. So it only
 * enters a new stack, once; from there on _setjmp() and _longjmp() switch, which know no mask.
 */
/* Its longjmp() believes that all frames lie on one stack. */
#undef _FORTIFY_SOURCE
#include "fiber.h"

#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

/* Whoever watches memory accesses must be told that a stack is exchanged. */
#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ADDRESS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ADDRESS 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define FIBER_THREAD 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FIBER_THREAD 1
#endif
#endif
#ifdef FIBER_ADDRESS
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FIBER_THREAD
#include <sanitizer/tsan_interface.h>
#endif
#if defined(SANITIZED) && !defined(FIBER_ADDRESS) && !defined(FIBER_THREAD) && \
    __has_include(<valgrind/valgrind.h>)
#define FIBER_VALGRIND 1
#include <valgrind/valgrind.h>
#endif

/* What a sanitizer remembers of the stack that is left. */
struct side {
	jmp_buf jump;
	void *fake_stack;   /* ASan's */
	void *thread_state; /* TSan's */
	const void *bottom;
	size_t size;
};

struct fiber {
	struct fiber *next; /* in the pool */
	unsigned number;
	unsigned char *memory; /* the stack between its guards */
	unsigned valgrind_stack;
	struct side inside, outside;
	void (*run)(void *context);
	void *argument;
	bool entered; /* it has its first frame */
	bool ended;
};

struct fibers {
	struct fiber **all; /* made so far */
	unsigned made, most;
	struct fiber *free; /* the last one given back first: its pages are there */
};

static __thread struct fiber *current;

/* ---- Switching ----------------------------------------------------------------------------- */

/* The last thing before a stack is left, when its place is kept: sanitizers look for that where it was left. */
static void side_leave(struct side *from, struct side *to)
{
#ifdef FIBER_ADDRESS
	__sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
#else
	(void)from;
#endif
#ifdef FIBER_THREAD
	__tsan_switch_to_fiber(to->thread_state, 0);
#else
	(void)to;
#endif
}

/* To be called first on the stack that was switched to. left: what was learnt of the stack that was left
 * goes there. */
static void side_arrive(struct side *side, struct side *left)
{
#ifdef FIBER_ADDRESS
	__sanitizer_finish_switch_fiber(side->fake_stack, &left->bottom, &left->size);
#else
	(void)side, (void)left;
#endif
}

static void side_switch(struct side *from, struct side *to)
{
	if (_setjmp(from->jump) == 0) {
		side_leave(from, to);
		_longjmp(to->jump, 1);
	}
}

/* The first frame of a stack: it never ends, one call follows the other. */
static void fiber_main(void)
{
	struct fiber *fiber = current;

	side_arrive(&fiber->inside, &fiber->outside);
	for (;;) {
		fiber->run(fiber->argument);
		fiber->ended = true;
		current = NULL;
		side_switch(&fiber->inside, &fiber->outside);
		side_arrive(&fiber->inside, &fiber->outside);
	}
}

/* Onto a stack that was never entered. The thread's own context is kept as a jump, like later ones. */
static void fiber_enter_first(struct fiber *fiber)
{
	ucontext_t inside;

	getcontext(&inside);
	inside.uc_stack.ss_sp = fiber->memory;
	inside.uc_stack.ss_size = FIBER_STACK_SIZE;
	inside.uc_link = NULL;
	makecontext(&inside, fiber_main, 0);
	if (_setjmp(fiber->outside.jump) == 0) {
		side_leave(&fiber->outside, &fiber->inside);
		setcontext(&inside);
	}
}

static void fiber_enter(struct fiber *fiber)
{
	struct side ignored;

	current = fiber;
#ifdef FIBER_THREAD
	fiber->outside.thread_state = __tsan_get_current_fiber();
#endif
	if (fiber->entered) {
		side_switch(&fiber->outside, &fiber->inside);
	} else {
		fiber->entered = true;
		fiber_enter_first(fiber);
	}
	side_arrive(&fiber->outside, &ignored);
}

void fiber_start(struct fiber *fiber, void (*run)(void *context), void *context)
{
	fiber->run = run;
	fiber->argument = context;
	fiber->ended = false;
	fiber_enter(fiber);
}

void fiber_resume(struct fiber *fiber)
{
	fiber_enter(fiber);
}

void fiber_suspend(void)
{
	struct fiber *fiber = current;

	current = NULL;
	side_switch(&fiber->inside, &fiber->outside);
	side_arrive(&fiber->inside, &fiber->outside);
}

bool fiber_ended(const struct fiber *fiber)
{
	return fiber->ended;
}

struct fiber *fiber_current(void)
{
	return current;
}

unsigned fiber_number(const struct fiber *fiber)
{
	return fiber->number;
}

/* ---- Stacks -------------------------------------------------------------------------------- */

static size_t guard_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static struct fiber *fiber_new(unsigned number)
{
	struct fiber *fiber = calloc(1, sizeof(*fiber));
	size_t guard = guard_size();
	unsigned char *memory;

	if (!fiber)
		return NULL;
	memory = mmap(NULL, FIBER_STACK_SIZE + 2 * guard, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (memory == MAP_FAILED) {
		free(fiber);
		return NULL;
	}
	if (mprotect(memory + guard, FIBER_STACK_SIZE, PROT_READ | PROT_WRITE) < 0) {
		munmap(memory, FIBER_STACK_SIZE + 2 * guard);
		free(fiber);
		return NULL;
	}
	fiber->number = number;
	fiber->memory = memory + guard;
	fiber->inside.bottom = fiber->memory;
	fiber->inside.size = FIBER_STACK_SIZE;
	fiber->ended = true;
#ifdef FIBER_THREAD
	fiber->inside.thread_state = __tsan_create_fiber(0);
#endif
#ifdef FIBER_VALGRIND
	fiber->valgrind_stack =
	    VALGRIND_STACK_REGISTER(fiber->memory, fiber->memory + FIBER_STACK_SIZE);
#endif
	return fiber;
}

static void fiber_free(struct fiber *fiber)
{
	size_t guard = guard_size();

#ifdef FIBER_THREAD
	__tsan_destroy_fiber(fiber->inside.thread_state);
#endif
#ifdef FIBER_VALGRIND
	VALGRIND_STACK_DEREGISTER(fiber->valgrind_stack);
#endif
	munmap(fiber->memory - guard, FIBER_STACK_SIZE + 2 * guard);
	free(fiber);
}

struct fibers *fibers_new(unsigned most)
{
	struct fibers *fibers = calloc(1, sizeof(*fibers));

	if (fibers)
		fibers->all = calloc(most, sizeof(struct fiber *));
	if (!fibers || !fibers->all) {
		free(fibers);
		return NULL;
	}
	fibers->most = most;
	return fibers;
}

void fibers_free(struct fibers *fibers)
{
	if (!fibers)
		return;
	for (unsigned i = 0; i < fibers->made; i++)
		fiber_free(fibers->all[i]);
	free(fibers->all);
	free(fibers);
}

unsigned fibers_most(const struct fibers *fibers)
{
	return fibers->most;
}

struct fiber *fiber_take(struct fibers *fibers)
{
	struct fiber *fiber = fibers->free;

	if (fiber) {
		fibers->free = fiber->next;
		return fiber;
	}
	if (fibers->made == fibers->most)
		return NULL;
	fiber = fiber_new(fibers->made);
	if (fiber)
		fibers->all[fibers->made++] = fiber;
	return fiber;
}

void fiber_give_back(struct fibers *fibers, struct fiber *fiber)
{
	fiber->next = fibers->free;
	fibers->free = fiber;
}
