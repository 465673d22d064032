#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "data/images/image_data.h"
#include "model/config.h"
#include "mumoe/sharding.h"
#include "run/config_file.h"
#include "run/train_config.h"

namespace mumoe::model {
struct MlpKind;
}

namespace mumoe::run {

enum class Precision { automatic, bf16, fp32, fp64 };
enum class DeviceKind { automatic, cpu, cuda };
enum class GemmChoice { automatic, mkl, onednn };

/// Whether a run goes on from its newest checkpoint; automatic: if it has one.
enum class Resume { no, yes, automatic };

/// Where a run keeps what it makes: in `runs/NAME-n`, made when it begins, in
/// the folder that is named, or nowhere.
enum class Keep { numbered, folder, nothing };

enum class BackendChoice { automatic, mpi, nccl, null };
using dist::Wire;

/// How a run is laid over its ranks: the section [parallel].
struct ParallelOptions {
  int dp = 0;  ///< 0: all ranks that tp leaves.
  int tp = 1;
  std::optional<Plan> plan = Plan::sequence;  ///< None: chosen by measuring.
  int zero = 1;  ///< Whether the optimizer's state is cut over dp.
  BackendChoice backend = BackendChoice::automatic;
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
  model::ModelConfig model = {.gemm = GemmLibrary::mkl};
  std::string family = "gpt2";
  /// A rule (`is_rank_rule`), the free rank or all ranks; resolved into
  /// `model.mlp.ranks`.
  std::string rank = "auto";
  /// The same for `model.token_ranks`; auto: by the rule in `rank`, if there is
  /// one.
  std::string token_rank = "auto";

  std::string source = "speeches";
  /// Of images: `data::kClassTarget`, or the attribute that is learnt.
  std::string target = std::string(data::kClassTarget);
  /// Of images: what training ones go through, and what to do with bad ones.
  data::Augmentation augment = data::Augmentation::automatic;
  data::Normalisation normalisation = data::Normalisation::imagenet;
  data::BadImages bad_images = data::BadImages::refuse;
  /// Images are blended by weights from Beta(mixup, mixup); 0: not.
  double mixup = 0;
  /// Threads of a rank that make batches; 0: as many as it has cores.
  int data_threads = 0;
  std::string tokenizer = "bytes";
  /// Of lines of JSON, the string that is the text.
  std::string field = "text";

  ParallelOptions parallel;

  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  TrainerConfig trainer;
  /// Of the training samples, instead of `trainer.steps`; 0: by those.
  double epochs = 0;

  Precision precision = Precision::automatic;
  DeviceKind device = DeviceKind::automatic;
  GemmChoice gemm = GemmChoice::automatic;
  /// Whether a GPU's sums have the same bits each time; a CPU's always have.
  bool deterministic = true;
  /// What it means that `trainer.out` is empty: no folder, which a run refuses,
  /// or one of the others.
  Keep keep = Keep::numbered;
  Resume resume = Resume::no;
  /// Keys, with commas between, that a resumed run may have otherwise than its
  /// checkpoint though they change what is trained.
  std::string force;
  /// Weights that a run begins with; empty: it draws its own.
  std::filesystem::path from;
  /// A checkpoint of another run, or that run, whose steps so far are this
  /// one's too; empty: it takes them all itself.
  std::filesystem::path branch;
  /// File of a Chrome trace of the run's first steps; empty: none.
  std::filesystem::path trace;

  /// Keys that were `auto` and are resolved, since they follow from others.
  std::set<std::string> followed;
};

/// auto, paper or paper,auto: the authors' rank where they chose one, else as
/// many parameters as the dense MLP has.
bool is_rank_rule(const std::string& rank);

/// What the keys say of the ranks of `kind`: a rule, or numbers.
std::string rank_text(const Options& options, const model::MlpKind& kind);

/// Rows of the embedding for a tokenizer.
std::int64_t default_vocabulary(const std::string& tokenizer);

/// What stands for `auto` in settings that may be 0.
inline constexpr std::int64_t kOpenSteps = -1;
inline constexpr double kOpenRate = -1;
/// The same of train.steps: as many as train.epochs asks for, once the data is
/// known (`with_steps`).
inline constexpr std::int64_t kStepsByEpochs =
    std::numeric_limits<std::int64_t>::max();

/// `options` with the steps that train.epochs asks for of `samples` training
/// samples, the last step's batch filled from the next epoch, and a schedule
/// that follows them; as they are where it asks for none. Throws `InputError`
/// where train.steps says something else.
Options with_steps(Options options, std::uint64_t samples);

/// Where a value came from, for `--print-config`.
using Origins = std::map<std::string, std::string>;
/// The origin of what a user has given with the command.
inline constexpr const char* kCommandLine = "command line";
/// Whether `key` was given with the command, not by a file or by itself.
bool is_given(const std::string& key, const Origins& origins);

/// `error`, and where settings that it names ("model.heads = 4") stand, unless
/// on the command line, and which of them need not be there.
InputError with_origins(const InputError& error, const Origins& origins);

/// Options in the making: settings by key, of which the last one wins.
class Draft {
 public:
  /// Everything that is resolved is `auto`.
  Draft();

  /// Takes one setting. `where` is what a mistake is reported of, `origin` what
  /// is kept. Throws `InputError`: an unknown key (with the nearest known one),
  /// or a value of the wrong type.
  void set(const std::string& name,
           const std::string& value,
           const std::string& where,
           const std::string& origin);
  /// Takes those of a file (INI, run/config_file.h); returns how many. Throws
  /// `InputError` naming file and line.
  std::size_t read_file(const std::filesystem::path& file);
  /// The same of a file's `text`; `origin` is what is kept.
  std::size_t read_text(std::string_view text, const std::string& origin);

  /// The options, with values that depend on others (hidden width, vocabulary,
  /// length of the schedule, ranks) resolved. Throws `InputError` naming key,
  /// value and what was expected.
  Options resolved() const;
  /// As they were set.
  const Options& unresolved() const { return options_; }
  const Origins& origins() const { return origins_; }

 private:
  std::size_t take(const std::vector<ConfigEntry>& entries,
                   const std::string& file);

  Options options_;
  Origins origins_;
};

/// `error` of a library, which names members of what it was told, `width = 3:
/// ...`, with their keys instead: those of members of the `parts` of `Options`
/// ("model"; "": its own).
InputError with_keys(const InputError& error,
                     std::initializer_list<const char*> parts);

/// Runs `check`, whose errors are given keys in this way.
template <class Check>
auto name_keys(std::initializer_list<const char*> parts, const Check& check) {
  try {
    return check();
  } catch (const InputError& error) {
    throw with_keys(error, parts);
  }
}

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

}  // namespace mumoe::run
