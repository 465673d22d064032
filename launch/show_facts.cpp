#include "launch/show_facts.h"

#include <fmt/format.h>

#include <cstdio>

#include "base/file.h"

namespace mumoe::launch {

void show_facts(const std::string& file,
                const std::function<std::string()>& table,
                const std::function<std::string()>& json) {
  fmt::print("{}", file == "-" ? json() : table());
  if (file != "-" && !file.empty()) write_file_atomically(file, json());
  std::fflush(stdout);
}

}  // namespace mumoe::launch
