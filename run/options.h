#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/number.h"
#include "model/gpt2.h"
#include "mumoe/sharding.h"
#include "run/train_config.h"

namespace mumoe::run {

enum class Precision { automatic, bf16, fp32, fp64 };
enum class DeviceKind { automatic, cpu, cuda };
enum class GemmChoice { automatic, mkl, onednn };

enum class BackendChoice { automatic, mpi, nccl, null };
using dist::Wire;

/// How a run is laid over its ranks: the section [parallel].
struct ParallelOptions {
  int dp = 0;  ///< 0: all ranks that tp leaves.
  int tp = 1;
  std::optional<Plan> plan = Plan::sequence;  ///< None: chosen by measuring.
  int zero = 1;  ///< Whether the optimizer's state is cut over dp.
  BackendChoice backend = BackendChoice::automatic;
  Wire wire = Wire::fp32;  ///< Of gradients on their way.
  bool tp_across_hosts = false;
  double deadline = 600;  ///< Seconds one phase may take.
  /// Compares what ranks are about to call before each collective.
  bool check_collectives = false;
  /// Steps between comparisons of replicated parameters; 0: never.
  std::int64_t check_replicas = 0;
  /// Software model of a link, "latency_us,GB/s"; empty: none.
  std::string link;
};

/// Every setting of a run; `option_table()` gives each its key,
/// its text form and its meaning.
struct Options {
  /// `choose_compute` settles its library; reading options measures nothing.
  model::Gpt2Config model = {.gemm = GemmLibrary::mkl};
  std::string family = "gpt2";
  /// auto, paper, the free rank or all ranks; resolved into `model.ranks`.
  std::string rank = "auto";

  std::string source = "speeches";
  std::string tokenizer = "bytes";

  ParallelOptions parallel;

  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  TrainerConfig trainer;

  Precision precision = Precision::automatic;
  DeviceKind device = DeviceKind::automatic;
  GemmChoice gemm = GemmChoice::automatic;
  bool resume = false;
  /// File of a Chrome trace of the run's first steps; empty: none.
  std::filesystem::path trace;
};

/// Where a value came from, for `--print-config`.
using Origins = std::map<std::string, std::string>;

/// A command line, read.
struct CommandLine {
  Options options;
  Origins origins;
  bool print_config = false;
  /// `--NAME VALUE` of the subcommand's own, e.g. --prompt.
  std::map<std::string, std::string> own;

  /// The value of one of those.
  std::string text(const std::string& name, std::string otherwise) const;
  /// The same as a number from `least` to `most`. Throws `InputError`: option,
  /// value, what was expected.
  template <class Number>
  Number number(const std::string& name,
                Number otherwise,
                Number least = std::numeric_limits<Number>::lowest(),
                Number most = std::numeric_limits<Number>::max()) const;
};

/// An option that one subcommand has on top of the keys of a run.
struct OwnOption {
  std::string name;
  std::string help;
};

/// Reads `--config FILE` (INI, run/config_file.h) and then `--section.key
/// value`; the command line wins. A subcommand takes the keys of `section`
/// alone on its command line
/// ("*": of all; "": of none, and no --config), and its own options. Values
/// that depend on others (hidden width, vocabulary, length of the schedule) are
/// resolved. Throws `InputError`: an unknown key (with the nearest known one),
/// a value of the wrong type, where it stands.
CommandLine read_command_line(const std::vector<std::string>& arguments,
                              const std::string& section = "*",
                              const std::vector<OwnOption>& own = {});

/// The options that `values`, by key, say, resolved; `origin` is named when one
/// is refused. What `to_map` returns gives the same options again.
Options options_from(const std::map<std::string, std::string>& values,
                     const std::string& origin);

/// Reads a resolved configuration, such as a run directory's config.cfg. Throws
/// `InputError` naming the file and line.
Options read_config(const std::filesystem::path& file);

/// The options as a .cfg file; with `origins`, each value's origin beside it.
std::string to_config_text(const Options& options,
                           const Origins* origins = nullptr);

/// All keys and their values as text.
std::map<std::string, std::string> to_map(const Options& options);

/// One line a key: name, default, meaning.
std::string describe_keys();

template <class Number>
Number CommandLine::number(const std::string& name,
                           Number otherwise,
                           Number least,
                           Number most) const {
  const auto found = own.find(name);
  if (found == own.end()) return otherwise;
  try {
    return parse_number(found->second, least, most);
  } catch (const InputError& error) {
    fail<InputError>("--{} {}: {}", name, found->second, error.what());
  }
}

}  // namespace mumoe::run
