#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dist/communicator.h"

namespace mumoe::launch {

/// Figures that were measured of one machine, kept in `cache_folder()`/measured
/// as one file for each kind of run. What is chosen automatically by such
/// figures is then a function of the machine and not of the moment. Removing
/// the file has them measured anew.
class Figures {
 public:
  using Values = std::vector<double>;

  /// `kind`: the machine and what is measured on it. `basis`: what the figures
  /// rest on and may change, such as a library's version; those of another
  /// basis are `before`. Reads the file on rank 0.
  Figures(std::string kind, std::string basis, dist::Communicator& world);

  /// The `count` figures called `name`: those remembered, else what `measure`
  /// returns on rank 0, which is remembered. All ranks measure at once, as they
  /// will compute at once. The same on all ranks. Collective.
  Values get(const std::string& name,
             std::size_t count,
             const std::function<Values()>& measure);

  /// Remembers `values` in the place of what there is. On rank 0; elsewhere
  /// nothing.
  void keep(const std::string& name, const Values& values);

  /// What is remembered, on rank 0.
  std::optional<Values> find(const std::string& name) const;
  /// What was remembered on another basis, on rank 0.
  std::optional<Values> before(const std::string& name) const;

  /// Why nothing can be remembered; empty where it can.
  const std::string& problem() const { return problem_; }

 private:
  using Table = std::map<std::string, Values>;

  void read();
  void write();

  dist::Communicator& world_;
  std::string kind_;
  std::string basis_;
  std::filesystem::path path_;
  Table now_;
  Table before_;
  std::string problem_;
};

}  // namespace mumoe::launch
