#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace mumoe::study {

/// A kind of machine as its maker describes it, and the links between its
/// processors: what study/predict/machines.json holds a line for. Bandwidths
/// are those of one direction, in bytes a second; latencies in seconds.
struct Machine {
  std::string name;
  double peak_flops = 0;        ///< FLOP/s of a processor in bf16 and fp16.
  double memory_bandwidth = 0;  ///< Of a processor's own memory.
  double memory_bytes = 0;
  double multiprocessors = 0;  ///< Tiles of a product computed at once; 0: a
                               ///< core, which computes no tiles.
  double kernel_launch = 0;    ///< Between two kernels, on the host.
  double gpus_per_node = 0;
  double link_bandwidth = 0;  ///< Of a processor, within a node.
  double link_share = 0;      ///< What collectives reach of it, 0 to 1.
  double link_latency = 0;    ///< A step of a ring.
  double node_bandwidth = 0;  ///< Of all network adapters of a node together.
  double node_share = 0;
  double node_latency = 0;
  double collective_latency = 0;  ///< A collective, before its first step.
};

/// The machines that have names.
class Machines {
 public:
  /// Those that the program holds (study/predict/machines.json as it was
  /// built).
  Machines();

  /// Adds those of a file of the same form; a name that is there already gets
  /// the file's constants, and what others of the file are like may stand
  /// behind them. Throws `InputError`: file, machine, key, what was
  /// expected.
  void add(const std::filesystem::path& file);

  /// Throws `InputError` that lists the names.
  const Machine& named(const std::string& name) const;
  std::vector<std::string> names() const;

 private:
  void add_text(const std::string& text, const std::string& where);
  void add_machine(const std::string& name,
                   const nlohmann::json& entry,
                   const std::string& where);
  /// One entry; what it does not give is that of `base`, where there is one.
  Machine read_machine(const nlohmann::json& entry,
                       const std::string& base,
                       const std::string& where) const;

  std::map<std::string, Machine> machines_;
};

}  // namespace mumoe::study
