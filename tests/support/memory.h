#pragma once

#include <fstream>
#include <string>

namespace mumoe::testing {

/// Memory of this process that is its own: anonymous pages, MiB.
inline double private_mib() {
  std::ifstream in("/proc/self/status");
  std::string key;
  double kib = 0;
  while (in >> key) {
    if (key == "RssAnon:") in >> kib;
  }
  return kib / 1024;
}

}  // namespace mumoe::testing
