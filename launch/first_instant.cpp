#include <cstring>

#include "train/signals.h"

namespace {

/// Training takes signals before the libraries initialise themselves, which
/// takes most of a second: a request to stop that comes meanwhile is one.
void take_signals(int count, char** arguments, char**) {
  if (count > 1 && std::strcmp(arguments[1], "train") == 0) {
    mumoe::train::take_stop_signals();
  }
}

// Called by the dynamic linker before the initialisers of all libraries.
[[gnu::section(".preinit_array"),
  gnu::used]] void (*const first)(int, char**, char**) = take_signals;

}  // namespace
