#include "base/thread_signals.h"

#include <pthread.h>
#include <signal.h>

#include <initializer_list>

namespace mumoe {

void block_signals() {
  sigset_t signals;
  sigfillset(&signals);
  for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) {
    sigdelset(&signals, fault);
  }
  pthread_sigmask(SIG_SETMASK, &signals, nullptr);
}

}  // namespace mumoe
