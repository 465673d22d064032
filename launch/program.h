#pragma once

#include <vector>

#include "dist/watch/observer.h"

namespace mumoe::launch {

/// The program without its main(): starts MPI where a launcher has started this
/// process, runs the subcommand, prints what it throws as one line, and ends
/// the other ranks after an error. Returns the exit code. `observers` see every
/// phase and collective of a training run and must outlive the call.
int run_program(int argc,
                char** argv,
                std::vector<dist::Observer*> observers = {});

}  // namespace mumoe::launch
