#pragma once

#include <string>
#include <vector>

#include "study/predict/step_work.h"

namespace mumoe::study {

/// Something that a rank computes in a step.
struct Operation {
  enum class Kind {
    host,     ///< What the program does between operations.
    passes,   ///< An operator of LibTorch that passes over memory.
    kernel,   ///< A kernel of this program, which does too.
    product,  ///< Of matrices; attention too.
  };
  Kind kind = Kind::host;
  std::string name;  ///< "aten::add.Tensor", "gate", "forward".
  /// Name and shapes: operations that take the same time.
  std::string key;
  double bytes = 0;  ///< Read and written.
  std::vector<Product> products = {};
};

/// Who is told of them, in order.
class OperationSink {
 public:
  virtual ~OperationSink() = default;
  /// One begins.
  virtual void began() {}
  /// `operation` is over.
  virtual void operation(const Operation& operation) = 0;
  /// The host needs what has been computed.
  virtual void read_back() {}
};

}  // namespace mumoe::study
