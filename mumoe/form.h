#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "mumoe/kernels/combine_shape.h"

namespace at {
class Tensor;
}

namespace mumoe {

struct FormDefinition;

/// How the tensor W [N_1, ..., N_E, I, O] of a layer is held: CP and ring are
/// Eq. 2 and 3 of arXiv 2402.12550, a train is a ring whose r_1 is 1, and
/// Tucker is a core with one factor a dim. Each is defined in a file of its
/// own: cp.cpp, tr.cpp (ring and train), tucker.cpp.
class Form {
 public:
  static const Form cp, tensor_ring, tensor_train, tucker;

  constexpr explicit Form(const FormDefinition& definition)
      : definition_(&definition) {}
  constexpr const FormDefinition* operator->() const { return definition_; }
  auto operator<=>(const Form&) const = default;

 private:
  const FormDefinition* definition_;
};

/// All there are: the table to add to.
std::span<const Form> forms();

/// As in configs: cp, tr, tt, tucker.
std::string_view to_string(Form form);

/// Ranks that a layer of so many levels has: 1 for CP, levels + 2 otherwise.
std::size_t rank_count(Form form, std::size_t levels);

/// Sizes of one layer. `factor_specs` lists its factors.
struct LayerShape {
  Form form = Form::cp;
  /// I without the bias row, and O.
  std::int64_t inputs = 0;
  std::int64_t outputs = 0;
  /// N_1, ..., N_E: experts of each level.
  std::vector<std::int64_t> experts = {};
  /// cp {R}; ring and train {r_1, ..., r_{E+2}}; tucker {RN_1, ..., RN_E, RI,
  /// RO}. The last is the one that sums input and output.
  std::vector<std::int64_t> ranks = {};
  bool bias = true;

  /// InputError unless there are one to four levels, as many ranks as the form
  /// takes, every size is positive and a train's r_1 is 1.
  void validate() const;
};

/// A size of a layer by its name, for the dims of its factors.
struct Dim {
  enum class Of { inputs, outputs, experts, rank };
  Of of;
  /// Of `experts` and `rank`: which of them, from 0.
  std::size_t index = 0;

  static Dim inputs() { return {Of::inputs}; }
  static Dim outputs() { return {Of::outputs}; }
  static Dim experts(std::size_t level) { return {Of::experts, level}; }
  static Dim rank(std::size_t index) { return {Of::rank, index}; }
  bool operator==(const Dim&) const = default;

  /// The size that it names.
  std::int64_t& in(LayerShape& shape) const;
  std::int64_t in(const LayerShape& shape) const;
};

/// What a factor is for.
enum class Role { expert, input, input_bias, core, output };

/// One factor of a layer. The dim that is summed with an operand (a_e, z, dy)
/// comes first; a core has none.
struct FactorSpec {
  Role role;
  std::vector<Dim> dims;
  /// Of an expert factor.
  std::size_t level = 0;

  /// The place of `dim` among the dims; −1: this factor does not have it.
  int place(Dim dim) const;
  std::vector<std::int64_t> shape(const LayerShape& layer) const;
  /// All sizes but the first one's, multiplied.
  std::int64_t columns(const LayerShape& layer) const;
  std::int64_t numel(const LayerShape& layer) const;
};

/// The factors of a layer, in the order in which they are registered: what
/// counts, checks, placements, registration and autograd follow from.
///   factor      cp       ring, train            tucker
///   expert e    [N_e, R] [N_e, r_e, r_{e+1}]    [N_e, RN_e]
///   input       [I, R]   [I, r_{E+1}, r_{E+2}]  [I, RI]
///   input_bias  [R]      [r_{E+1}, r_{E+2}]     [RI]
///   core                                        [RN_1, ..., RN_E, RI, RO]
///   output      [O, R]   [O, r_1, r_{E+2}]      [O, RO]
/// `input_bias` is the bias row that the paper folds into the input factor; a
/// layer without `bias` has none.
std::vector<FactorSpec> factor_specs(const LayerShape& shape);

/// Whether a layer of this form has a factor with the rank that sums input and
/// output, the one that the plan `rank` cuts, among those of the experts.
bool experts_have_last_rank(const LayerShape& shape);

/// The tensors that one expert's matrix is made from: a row of each level's
/// factor, and the factors of input, output and, where there is one, the core.
struct ExpertFactors {
  const std::vector<at::Tensor>& rows;
  const at::Tensor& input;
  const at::Tensor& core;
  const at::Tensor& output;
};

/// All that is special to a form.
struct FormDefinition {
  std::string_view name;
  /// Its ranks, as messages name them.
  std::string_view rank_names;
  /// The factors of a layer of so many levels, without the bias row. If there
  /// is a core, the bias is added to what it meets, z U_I; otherwise to q.
  std::vector<FactorSpec> (*factors)(std::size_t levels);
  /// How a layer combines: all of `CombineShape` but levels, experts and mixed.
  void (*combination)(const LayerShape&, kernels::CombineShape&);
  /// W[n_1, ..., n_E] as [I, O]. Differentiable.
  at::Tensor (*expert_matrix)(const ExpertFactors&);
  /// The largest rank that its ranks let such a matrix have.
  std::int64_t (*matrix_rank)(const std::vector<std::int64_t>& ranks);
  /// What ranks are unless given, but for the last `free_ranks`, which are
  /// equal and follow from a budget.
  std::vector<std::int64_t> (*inner_ranks)(
      const std::vector<std::int64_t>& experts);
  std::size_t free_ranks = 1;
  /// What r_1 has to be; 0: anything.
  std::int64_t first_rank = 0;
};

/// The sizes of a layer's combination.
kernels::CombineShape combination_of(const LayerShape& shape);

// The counts below are of a shape with as many ranks as its form takes
// (MUMOE_CHECK); ranks of zero count for nothing. A product of sizes above 2^56
// is an InputError.

/// Elements of the factors.
std::int64_t parameter_count(const LayerShape& shape);

/// Multiply-accumulates for one token of what stands between the factors'
/// products, c from m_e and q; Hadamard products are not counted.
///   ring    from the left, sum_{k=2}^{E+1} r_1 r_k r_{k+1}
///   tucker  the levels from the last to the first, sum_e RN_1 ... RN_e RO
struct CombineMacs {
  /// Of the levels with each other,
  std::int64_t levels = 0;
  /// and with q: as many for each of its columns, which are the last rank.
  std::int64_t columns = 0;
};
CombineMacs combine_macs(const LayerShape& shape);

/// Multiply-accumulates for one token when W is never formed: as many as
/// parameters, since each is used once (Table 6 of the paper), and those of the
/// combination.
std::int64_t macs_per_token(const LayerShape& shape);

/// The largest rank that one expert's matrix W[n_1, ..., n_E] (without its
/// bias) can have: min(I, O) and
///   cp      R
///   ring    r_{E+2} min(r_1, ..., r_{E+1})
///   tucker  min(RI, RO)
std::int64_t expert_matrix_rank(const LayerShape& shape);

/// The product of sizes, none negative; InputError above 2^56, so that sums of
/// some products are safe as well.
std::int64_t checked_product(const std::vector<std::int64_t>& sizes);

}  // namespace mumoe
