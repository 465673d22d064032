#pragma once

#include <map>
#include <string>

#include "study/predict/machine.h"
#include "study/predict/step_time.h"
#include "study/simulate/operation.h"

namespace mumoe::study {

/// How long operations take.
class Charges {
 public:
  virtual ~Charges() = default;
  virtual double seconds(const Operation& operation) const = 0;
  /// Of the host, to queue it.
  virtual double launch(const Operation& operation) const = 0;
};

/// By the constants of a machine and the rates at which programs use it: a
/// product by its shape, everything else by the bytes that it passes over.
class MachineCharges final : public Charges {
 public:
  MachineCharges(Machine machine, const Rates& rates)
      : machine_(std::move(machine)), rates_(rates) {}

  double seconds(const Operation& operation) const override;
  double launch(const Operation& operation) const override;

 private:
  Machine machine_;
  Rates rates_;
};

/// By what operations took on this machine: `add` what was measured, in any
/// order, then ask. An operation that was not measured takes what those of its
/// name took for a byte, or a FLOP of a product.
class MeasuredCharges final : public Charges {
 public:
  void add(const Operation& operation, double seconds);
  /// All that is asked from now on takes so many times as long.
  void set_scale(double scale) { scale_ = scale; }

  double seconds(const Operation& operation) const override;
  double launch(const Operation&) const override { return 0; }

 private:
  struct Sum {
    double seconds = 0;
    double units = 0;
    std::int64_t count = 0;
  };
  std::map<std::string, Sum> exact_;
  std::map<std::string, Sum> named_;
  double scale_ = 1;
};

}  // namespace mumoe::study
