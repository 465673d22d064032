#pragma once

#include <functional>
#include <utility>

#include "base/disk.h"
#include "base/error.h"

namespace mumoe::testing {

/// Of one rank. Refuses one call, or does something before one.
class BadDisk final : public Disk {
 public:
  /// From now on the `number`-th call is refused, from 1.
  void refuse(int number) { refused_at_ = calls_ + number; }
  /// Refuses none from now on; returns whether it has refused one.
  bool relent() {
    return std::exchange(refused_at_, 0) > 0 && std::exchange(refused_, false);
  }
  std::function<void(const DiskCall&)> act;

 protected:
  void before(const DiskCall& call) override {
    if (++calls_ == refused_at_) {
      refused_ = true;
      fail<InputError>("{}: the disk says no", call.path.string());
    }
    if (act) act(call);
  }

 private:
  int calls_ = 0;
  int refused_at_ = 0;
  bool refused_ = false;
};

}  // namespace mumoe::testing
