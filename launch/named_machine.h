#pragma once

#include <string>

#include "run/command_line.h"
#include "study/predict/machine.h"

namespace mumoe::launch {

/// The machine of the program's table, or of --machines, that is called `name`,
/// with the ranks a node of --gpus-per-node. Throws `InputError`, too, where
/// the run of `line` computes in what the constants of machines are not of.
study::Machine named_machine(const run::CommandLine& line,
                             const std::string& name);

/// --nodes, or one.
int nodes_of(const run::CommandLine& line);

}  // namespace mumoe::launch
