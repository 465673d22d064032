#pragma once

#include <string>

namespace mumoe::dist {

/// Where a process runs.
struct Host {
  /// As the operating system has it. Hosts may share one ("localhost").
  std::string name = {};
  /// One running system, whatever names its containers have: the id of the
  /// kernel's start, and where there is none the name.
  std::string machine = {};

  /// The same host: both agree. Containers on one machine that have names of
  /// their own count as several.
  bool operator==(const Host&) const = default;
};

/// This process's.
Host this_host();

}  // namespace mumoe::dist
