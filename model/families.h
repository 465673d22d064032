#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/model.h"
#include "mumoe/rank_matching.h"
#include "mumoe/sharding.h"

namespace mumoe::model {

/// What a model learns from.
enum class LearnsFrom { tokens, images, features };

/// A kind of MLP, or head, that a model has.
struct MlpKind {
  const char* name;          ///< "token "; "" where there is one kind.
  const char* ranks_member;  ///< Of its ranks in `ModelConfig`.
  std::vector<std::int64_t>& (*ranks)(ModelConfig& config);
  /// The mixture, complete but for its sharding. A dense MLP has its dims, and
  /// a layer norm of its own where it has one.
  BlockConfig block;
  std::int64_t tokens;  ///< That one sample gives it.
  std::int64_t blocks;  ///< How many there are.
  bool dense;           ///< Whether there is no mixture.
  bool bias;            ///< Of the dense MLP.
  /// That ranks may make of it; 0: as many as the dense MLP has.
  std::int64_t parameters = 0;
  const char* instead_of = "dense MLP";
};

/// Elements of what a pass needs room for beside what it keeps.
struct Workspace {
  double widest;      ///< Of the widest activation, a sample.
  double logits;      ///< A sample.
  double embeddings;  ///< Of those whose gradient a head makes.
};

/// A kind of model, by the name that `model.family` has for it.
struct Family {
  const char* name;
  LearnsFrom learns_from;
  /// Whose ranks are the paper's.
  PaperFamily paper;
  /// The members of `ModelConfig` that it alone looks at.
  std::span<const char* const> members;
  /// Throws `InputError` naming the member (`width`) and what it must be; of a
  /// config whose ranks may still have to be chosen.
  void (*validate_shape)(const ModelConfig& config);
  /// The same of all of it.
  void (*validate)(const ModelConfig& config);
  /// Throws `InputError` unless `sharding` can cut such a model, and
  /// micro-batches of so many samples; 0: they are not known yet.
  void (*validate_sharding)(const ModelConfig& config,
                            const Sharding& sharding,
                            std::int64_t micro_batch);
  /// Those of a block, in the order of the forward pass, then of a head.
  std::vector<MlpKind> (*mlps)(const ModelConfig& config);
  Workspace (*workspace)(const ModelConfig& config);
  /// Registers the parameters; `registry` must outlive the model. Batch norms
  /// take their statistics over all ranks of `batch_group` (null: this process
  /// alone), which must outlive it too: those that hold different rows, dp, and
  /// with cut tokens tp as well. Throws `InputError` naming the member that
  /// does not fit.
  std::unique_ptr<Model> (*make)(const ModelConfig& config,
                                 dist::ParameterRegistry& registry,
                                 const Sharding& sharding,
                                 dist::Communicator* batch_group);
};

/// All there are: a new family is a file and a line of this table.
std::span<const Family> families();

/// The one called `name`, which there must be.
const Family& family(std::string_view name);

/// Parameters of the dense MLP (or linear head) that `kind` takes the place of.
std::int64_t dense_parameters(const MlpKind& kind);

/// Whether anything in a model of `config` is a mixture.
bool has_mixtures(const Family& family, const ModelConfig& config);

}  // namespace mumoe::model
