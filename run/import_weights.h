#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dist/params/flat_buckets.h"
#include "run/damage.h"
#include "run/options.h"
#include "run/weight_file.h"
#include "run/weight_names.h"

namespace mumoe::run {

/// Weights of any format, opened: nothing but headers is read.
struct OpenedWeights {
  WeightFormat format;
  /// What was named, for messages, and what was found there: the checkpoint of
  /// a run, else the same.
  std::filesystem::path path;
  std::filesystem::path origin;
  std::unique_ptr<WeightFile> file = nullptr;
  /// What the files tell of the model, by key of the section [model], and the
  /// tokenizer; of a checkpoint all that it holds.
  std::map<std::string, std::string> settings = {};
  std::vector<std::string> notes = {};

  /// Names, shapes and sizes of the files, in a few digits: equal on all ranks
  /// that see the same files.
  std::string digest() const;
};

/// Opens a run directory (its newest checkpoint that is not `known` to be
/// damaged), a checkpoint, a folder of
/// .safetensors files, or one file (.safetensors, llm.c's .bin), of whatever
/// format the names in it are. Throws `InputError` naming file and place.
OpenedWeights open_weights(const std::filesystem::path& path,
                           const Damage& known = {});

/// The model of `weights`, with what a user has `given` by key on top. Throws
/// `InputError`: what has to be given, what cannot be (a mixture for weights
/// of dense MLPs).
Options options_of(const OpenedWeights& weights,
                   const std::map<std::string, std::string>& given);

/// Throws `InputError` naming the first setting of [model] that `weights` have
/// otherwise than `options`; `what`: who asks for them.
void require_same_model(const OpenedWeights& weights,
                        const Options& options,
                        const std::string& what);

/// The parameters of a model from files of any format. Both must outlive it.
/// A ViT's head that the files have not, or otherwise, begins anew, by `seed`.
class WeightImport {
 public:
  /// Throws `InputError` naming file and tensor: one is missing, has another
  /// shape, or is none of this model's; an output head that is not the
  /// embedding.
  WeightImport(const OpenedWeights& weights,
               const dist::ParameterRegistry& registry,
               std::uint64_t seed = 0);

  /// Parameter `index` of the registry in its global shape, in the dtype of
  /// the file.
  at::Tensor parameter(std::size_t index);
  /// What did not come from the files, a line each.
  std::vector<std::string> notes() const;

 private:
  struct Place {
    std::size_t tensor;
    WeightLocation location;
  };
  /// Instead of a tensor's number: none, it is drawn.
  static constexpr std::size_t kDrawn = static_cast<std::size_t>(-1);
  bool draws_head() const;
  void require_tensors() const;
  void require_no_others() const;
  void require_tied_head() const;

  const OpenedWeights& weights_;
  const dist::ParameterRegistry& registry_;
  std::uint64_t seed_;
  std::vector<ForeignTensor> tensors_;
  std::vector<Place> places_;  ///< By parameter.
  std::size_t read_ = 0;       ///< What `last_` is, if it is defined.
  at::Tensor last_;
};

/// Sets all weights, at any layout. Throws as `WeightImport` does, with nothing
/// changed; returns its notes.
std::vector<std::string> import_weights(const OpenedWeights& weights,
                                        dist::FlatBuckets& buckets,
                                        std::uint64_t seed = 0);

}  // namespace mumoe::run
