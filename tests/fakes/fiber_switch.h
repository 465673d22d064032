#pragma once

#include <cstddef>

// From one stack to another and back. ucontext asks the kernel for the signal
// mask at each switch, which takes most of the time of an emulated kernel: on
// x86-64 the registers that a call keeps are switched by themselves, but not
// under sanitizers, which know ucontext.

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)

/// Leaves the stack pointer in `*from`, the registers on the stack.
extern "C" void mumoe_fiber_switch(void** from, void* to);
asm(R"(
  .pushsection .text.mumoe_fiber_switch,"axG",@progbits,mumoe_fiber_switch,comdat
  .weak mumoe_fiber_switch
  .type mumoe_fiber_switch,@function
mumoe_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size mumoe_fiber_switch,.-mumoe_fiber_switch
  .popsection
)");

namespace fibers {

struct Context {
  void* stack = nullptr;
};

/// The first `go` to `context` calls `start`, which never returns.
inline void prepare(Context& context,
                    unsigned char* stack,
                    std::size_t bytes,
                    void (*start)()) {
  auto top = reinterpret_cast<std::size_t>(stack + bytes) / 16 * 16;
  auto** words = reinterpret_cast<void**>(top);
  // At the beginning of a function the stack is 8 bytes off a multiple of 16.
  *--words = nullptr;
  *--words = reinterpret_cast<void*>(start);
  context.stack = words - 6;
}

/// Leaves `from` here, until someone goes to it again.
inline void go(Context& from, Context& to) {
  mumoe_fiber_switch(&from.stack, to.stack);
}

}  // namespace fibers

#else

#include <ucontext.h>

namespace fibers {

using Context = ucontext_t;

inline void prepare(Context& context,
                    unsigned char* stack,
                    std::size_t bytes,
                    void (*start)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = bytes;
  context.uc_link = nullptr;
  makecontext(&context, start, 0);
}

inline void go(Context& from, Context& to) {
  swapcontext(&from, &to);
}

}  // namespace fibers

#endif
