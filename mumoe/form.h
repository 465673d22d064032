#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace mumoe {

/// How the tensor W [N_1, ..., N_E, I, O] of a layer is held: CP and ring are
/// Eq. 2 and 3 of arXiv 2402.12550, a train is a ring whose r_1 is 1, and
/// Tucker is a core with one factor a dim.
enum class Form { cp, tensor_ring, tensor_train, tucker };

/// As in configs: cp, tr, tt, tucker.
std::string_view to_string(Form form);

/// Ranks that a layer of so many levels has: 1 for CP, levels + 2 otherwise.
std::size_t rank_count(Form form, std::size_t levels);

/// Sizes of one layer. Its factors, with one row more in the input factor when
/// `bias`:
///   factor    cp        ring, train               tucker
///   expert e  [N_e, R]  [N_e, r_e, r_{e+1}]       [N_e, RN_e]
///   input     [I, R]    [I, r_{E+1}, r_{E+2}]     [I, RI]
///   output    [O, R]    [O, r_1, r_{E+2}]         [O, RO]
///   core                                          [RN_1, ..., RN_E, RI, RO]
struct LayerShape {
  Form form = Form::cp;
  /// I without the bias row, and O.
  std::int64_t inputs = 0;
  std::int64_t outputs = 0;
  /// N_1, ..., N_E: experts of each level.
  std::vector<std::int64_t> experts;
  /// cp {R}; ring and train {r_1, ..., r_{E+2}}; tucker {RN_1, ..., RN_E, RI,
  /// RO}.
  std::vector<std::int64_t> ranks;
  bool bias = true;

  /// InputError unless there are one to four levels, as many ranks as the form
  /// takes, every size is positive and a train's r_1 is 1.
  void validate() const;
};

// The counts below are of a shape with as many ranks as its form takes
// (MUMOE_CHECK); ranks of zero count for nothing. A product of sizes above 2^56
// is an InputError.

/// Elements of the factors. With I' = I + bias:
///   cp      R (sum_e N_e + I' + O)
///   ring    sum_e r_e N_e r_{e+1} + r_{E+1} I' r_{E+2} + r_{E+2} O r_1
///   tucker  sum_e N_e RN_e + I' RI + RN_1 ... RN_E RI RO + O RO
std::int64_t parameter_count(const LayerShape& shape);

/// Multiply-accumulates for one token when W is never formed.
///   cp      as many as parameters: each is used once (Table 6 of the paper);
///           the Hadamard products are not counted
///   ring    as many as parameters, and to multiply the chain
///           F_1 ... F_E F_I from the left sum_{k=2}^{E+1} r_1 r_k r_{k+1}
///   tucker  as many as parameters (the core meets z first), and to combine the
///           levels from the last to the first sum_e RN_1 ... RN_e RO
std::int64_t macs_per_token(const LayerShape& shape);

/// The largest rank that one expert's matrix W[n_1, ..., n_E] (without its
/// bias) can have: min(I, O) and
///   cp      R
///   ring    r_{E+2} min(r_1, ..., r_{E+1})
///   tucker  min(RI, RO)
std::int64_t expert_matrix_rank(const LayerShape& shape);

/// The product of sizes, none negative; InputError above 2^56, so that sums of
/// some products are safe as well.
std::int64_t checked_product(std::initializer_list<std::int64_t> sizes);

}  // namespace mumoe
