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

/// Throws `InputError` when srun has started several processes of which this
/// one sees none: an MPI that does not speak srun's protocol makes each of them
/// a run of its own, and all would write to one run directory. `ranks`: of this
/// process's world, 1 without MPI.
void require_whole_job(int ranks);

}  // namespace mumoe::launch
