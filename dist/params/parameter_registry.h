#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dist/communicator.h"
#include "dist/params/initializer.h"
#include "dist/params/placement.h"

namespace mumoe::dist {

/// One parameter of a model: its global identity and this rank's slice of it.
/// Or a buffer, such as running statistics: a value that the model itself
/// updates, the same way on all ranks that hold it.
struct Parameter {
  /// Unique and independent of the layout, e.g. "h.0.mlp.layer1.output".
  std::string name;
  std::vector<std::int64_t> global_shape;
  Placement placement;
  /// Whether weight decay applies.
  bool decay = true;
  Initializer init;
  /// Whether the model computes with the master itself instead of its rounded
  /// copy: norms, whose weights near 1 bf16 would hardly let move.
  bool full_precision = false;
  /// A dim that may have zeros behind it, so that rows of it begin at multiples
  /// of the registry's `row_multiple`: where zeros stay zeros in training.
  /// None: −1.
  int padded_dim = -1;
  /// A buffer is not: it takes no gradient, no decay and no optimizer state, is
  /// in the master's dtype and, beside that, initialised, checkpointed,
  /// compared and cut as parameters are.
  bool trained = true;
  /// Whether it is a weight that keeps its value (`Freezing`): not trained, as
  /// a buffer is, but in the dtype that it would be trained in.
  bool frozen = false;
  /// Of `padded_dim`; the registry's.
  std::int64_t multiple = 1;
  /// This rank's slice: an autograd leaf in the compute dtype (the master's
  /// with `full_precision`), shaped like `global_shape` but for a cut dim,
  /// which is the padded part, and the padded one.
  at::Tensor value = {};

  std::int64_t global_numel() const;
  /// Of the slice of each of `tp` ranks.
  std::vector<std::int64_t> slice_shape(int tp) const;
  /// What rank `rank` of `tp` has of dim `dim`, and in how many places.
  Slice slice_of_dim(int dim, int rank, int tp) const;
};

/// fp64 for a model that computes in fp64, else fp32.
at::ScalarType master_dtype(at::ScalarType compute);

/// All parameters of a model, in the order of the forward pass. Everything that
/// concerns parameters (initialisation, gradient reduction and norm, optimizer,
/// checkpoints, import and export) walks this one list.
///
/// Not thread-safe; tensors are on `device`.
class ParameterRegistry {
 public:
  /// Slices are those of this rank of `tp`; values have dtype `compute`. With
  /// `decay_all`, weight decay applies to every parameter, whatever it was
  /// registered with.
  /// `tp` must outlive the registry. Padded dims are multiples of
  /// `row_multiple`, which changes where values lie, and neither values nor
  /// files.
  ParameterRegistry(Communicator& tp,
                    at::ScalarType compute,
                    at::Device device,
                    bool decay_all = false,
                    std::int64_t row_multiple = 1)
      : tp_(tp),
        compute_(compute),
        device_(device),
        decay_all_(decay_all),
        row_multiple_(row_multiple) {}

  /// Registers a parameter and returns its slice, still without values: they
  /// come from `FlatBuckets`, or from whoever else keeps them, who says so by
  /// `set_given`. Throws `InternalError` for a name given twice.
  at::Tensor add(Parameter parameter);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  /// Throws `InternalError` for an unknown name.
  const Parameter& at(const std::string& name) const;
  at::ScalarType compute_dtype() const { return compute_; }
  at::ScalarType master_dtype() const { return dist::master_dtype(compute_); }
  /// Over whose ranks parameters are cut.
  const Communicator& tp() const { return tp_; }
  at::Device device() const { return device_; }
  /// Elements of all global tensors but buffers.
  std::int64_t global_numel() const;

  /// What is registered while one lives is frozen.
  class Freezing {
   public:
    explicit Freezing(ParameterRegistry& registry) : registry_(registry) {
      registry_.freezes_ = true;
    }
    ~Freezing() { registry_.freezes_ = false; }
    Freezing(const Freezing&) = delete;
    Freezing& operator=(const Freezing&) = delete;

   private:
    ParameterRegistry& registry_;
  };

  /// For each parameter whether it has values. Shared: it outlives the registry
  /// and knows what comes later. On the meta device, where nothing is read, all
  /// have.
  std::shared_ptr<const std::vector<bool>> given() const { return given_; }
  /// Says of parameter `index`, or of all, that it has values.
  void set_given(std::size_t index) const { given_->at(index) = true; }
  void set_given() const { given_->assign(given_->size(), true); }

  /// Waits until the values of parameters [first, last), as indices into
  /// `parameters()`, may be read: an update of them may still be on its way,
  /// and reading them before throws. A model calls it layer by layer. Cheap
  /// when they have come. Throws `InputError` when there never were any.
  void await(std::size_t first, std::size_t last) const;
  /// Who knows that: the storage of the values. Nobody: they may be read.
  using Await = std::function<void(std::size_t first, std::size_t last)>;
  void set_await(Await await) const { await_ = std::move(await); }

  /// This rank's part of the cut dim of `parameter` (all of dim 0 when it is
  /// not cut).
  Slice slice(const Parameter& parameter) const;
  /// This rank's zero-padded slice of a whole tensor of the global shape.
  at::Tensor cut(const Parameter& parameter, const at::Tensor& whole) const;
  /// The whole tensor of which every rank gives its `slice`, without padding,
  /// on every rank. Collective over tp for a cut parameter.
  at::Tensor gather(const Parameter& parameter, const at::Tensor& slice) const;

 private:
  Communicator& tp_;
  at::ScalarType compute_;
  at::Device device_;
  bool decay_all_;
  std::int64_t row_multiple_;
  bool freezes_ = false;
  std::vector<Parameter> parameters_;
  std::shared_ptr<std::vector<bool>> given_ =
      std::make_shared<std::vector<bool>>();
  mutable Await await_;
};

/// Throws `InputError` unless the parameters [first, last) of the registry that
/// `given` is from have values; `what`: whose they are, for the message.
void require_given(const std::vector<bool>& given,
                   std::size_t first,
                   std::size_t last,
                   std::string_view what);

/// Writes the initial values of as many elements of this rank's slice of
/// `parameter`, flattened, as `out` has, from `begin` on, to `out`, a
/// contiguous CPU tensor (fp32 or fp64). Padding is zero.
void initialise_slice(const ParameterRegistry& registry,
                      const Parameter& parameter,
                      std::uint64_t seed,
                      std::int64_t begin,
                      const at::Tensor& out);

}  // namespace mumoe::dist
