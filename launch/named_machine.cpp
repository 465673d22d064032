#include "launch/named_machine.h"

#include "base/error.h"

namespace mumoe::launch {

study::Machine named_machine(const run::CommandLine& line,
                             const std::string& name) {
  study::Machines machines;
  if (line.own.contains("machines")) machines.add(line.text("machines", ""));
  study::Machine machine = machines.named(name);
  const run::Precision precision = line.options.precision;
  require(precision == run::Precision::automatic ||
              precision == run::Precision::bf16,
          "train.precision: the constants of {} are those of bf16; expected "
          "auto or bf16",
          machine.name);
  machine.gpus_per_node =
      line.number<int>("gpus-per-node",
                       static_cast<int>(machine.gpus_per_node),
                       1,
                       1 << 10);
  return machine;
}

int nodes_of(const run::CommandLine& line) {
  return line.number<int>("nodes", 1, 1, 1 << 16);
}

}  // namespace mumoe::launch
