#include "launch/memory_room.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <limits>
#include <sstream>

#include "base/number.h"
#include "dist/gather_text.h"

namespace mumoe::launch {
namespace {

namespace fs = std::filesystem;

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

/// The number behind `name` in `file`, in lines "NAME NUMBER".
double value_in(const fs::path& file, const std::string& name) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string word;
    double value = 0;
    if (words >> word >> value && word == name) return value;
  }
  return -1;
}

/// The number that is all of `file`; negative: none, such as "max".
double value_of(const fs::path& file) {
  std::ifstream in(file);
  double value = -1;
  return in >> value ? value : -1;
}

/// What the limit of a control group leaves, of what its files are called.
/// Pages of files that nobody has used for long give way.
double left_in_group(const fs::path& group,
                     const std::string& limit,
                     const std::string& usage,
                     const std::string& inactive) {
  const double most = value_of(group / limit), used = value_of(group / usage);
  if (most < 0 || used < 0) return kNoLimit;
  const double idle = std::max(value_in(group / "memory.stat", inactive), 0.0);
  return std::max(most - std::max(used - idle, 0.0), 0.0);
}

/// Calls `visit` with the folder of each control group of this process and of
/// those above, and whether it is one of version 2.
void for_each_group(
    const fs::path& root,
    const std::function<void(const fs::path& group, bool unified)>& visit) {
  std::ifstream in(root / "proc/self/cgroup");
  // "0::/path" of version 2, "4:memory:/path" of version 1.
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string kind = line.substr(first + 1, second - first - 1);
    const bool unified = kind.empty();
    if (!unified && kind != "memory") continue;
    const fs::path top =
        root / "sys/fs/cgroup" / (unified ? fs::path() : fs::path("memory"));
    fs::path part = fs::path(line.substr(second + 1)).relative_path();
    // A container sees its own group at the top, under the name of all.
    for (;; part = part.parent_path()) {
      visit(top / part, unified);
      if (part.empty()) break;
    }
  }
}

/// The least that is left in the groups of this process.
double left_in_groups(const fs::path& root) {
  double least = kNoLimit;
  for_each_group(root, [&](const fs::path& group, bool unified) {
    if (unified) {
      least = std::min(least,
                       left_in_group(group,
                                     "memory.max",
                                     "memory.current",
                                     "inactive_file"));
      return;
    }
    for (const std::string name : {"memory.", "memory.memsw."}) {
      least = std::min(least,
                       left_in_group(group,
                                     name + "limit_in_bytes",
                                     name + "usage_in_bytes",
                                     "total_inactive_file"));
    }
  });
  return least;
}

/// What a machine of so much memory and swap lets the groups of this process
/// have of both. Version 2 limits them apart, version 1 memory, and both
/// together; a file that is not there limits nothing.
double whole_of_groups(const fs::path& root, double memory, double swap) {
  double both = kNoLimit;
  const auto lower = [](double& most, const fs::path& file) {
    const double limit = value_of(file);
    if (limit >= 0) most = std::min(most, limit);
  };
  for_each_group(root, [&](const fs::path& group, bool unified) {
    if (unified) {
      lower(memory, group / "memory.max");
      lower(swap, group / "memory.swap.max");
    } else {
      lower(memory, group / "memory.limit_in_bytes");
      lower(both, group / "memory.memsw.limit_in_bytes");
    }
  });
  return std::min(memory + swap, both);
}

}  // namespace

double available_memory(const fs::path& root) {
  const double available = value_in(root / "proc/meminfo", "MemAvailable:");
  if (available < 0) return -1;
  return std::min(available * 1024, left_in_groups(root));
}

double available_memory(at::Device device) {
  if (device.is_cpu()) return available_memory();
  const auto [free, total] =
      at::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
  return static_cast<double>(free);
}

double whole_memory(at::Device device, const fs::path& root) {
  if (!device.is_cpu()) {
    return static_cast<double>(at::getDeviceAllocator(device.type())
                                   ->getMemoryInfo(device.index())
                                   .second);
  }
  const double all = value_in(root / "proc/meminfo", "MemTotal:");
  if (all < 0) return -1;
  const double swap =
      std::max(value_in(root / "proc/meminfo", "SwapTotal:"), 0.0);
  return whole_of_groups(root, all * 1024, swap * 1024);
}

std::string lacking_memory(const std::vector<MemoryNeed>& needs,
                           const dist::HostMap& hosts,
                           bool each) {
  double most = 0;
  std::string line;
  const auto compare = [&](const std::vector<int>& ranks,
                           const std::string& host) {
    MemoryNeed all = needs[ranks.front()];
    for (std::size_t i = 1; i < ranks.size(); ++i) {
      all.needed += needs[ranks[i]].needed;
      all.available = std::min(all.available, needs[ranks[i]].available);
    }
    if (all.available < 0 || all.needed - all.available <= most) return;
    most = all.needed - all.available;
    line = fmt::format("{} on {} will need about {}, and {} is available{}",
                       each ? fmt::format("rank {}", ranks.front())
                            : fmt::format("{} rank{}",
                                          ranks.size(),
                                          ranks.size() == 1 ? "" : "s"),
                       host,
                       size_text(all.needed),
                       size_text(all.available),
                       each ? " on its GPU" : "");
  };
  for (const std::string& host : hosts.hosts()) {
    const auto ranks = hosts.ranks_on(host);
    if (!each) compare(ranks, host);
    for (const int rank : ranks) {
      if (each) compare({rank}, host);
    }
  }
  return line;
}

std::vector<MemoryNeed> gather_needs(const MemoryNeed& here,
                                     const dist::ProcessMesh& mesh,
                                     bool alone) {
  std::vector<MemoryNeed> needs;
  for (const std::string& text :
       dist::gather_text(mesh.control(),
                         fmt::format("{} {}", here.needed, here.available))) {
    MemoryNeed& need = needs.emplace_back();
    std::istringstream(text) >> need.needed >> need.available;
  }
  if (alone) needs.assign(needs.size(), here);
  return needs;
}

std::vector<std::string> memory_lines(const study::MemoryEstimate& estimate,
                                      double available,
                                      at::Device device,
                                      const dist::ProcessMesh& mesh,
                                      const dist::HostMap& hosts,
                                      bool alone) {
  const double needed =
      estimate.model() + (device.is_cpu() ? estimate.saving : 0);
  const std::string lack =
      lacking_memory(gather_needs({needed, available}, mesh, alone),
                     hosts,
                     alone || !device.is_cpu());
  return {describe_memory(estimate, device.is_cpu()),
          lack.empty() ? ""
                       : "warning  memory: " + lack +
                             "; expected a smaller train.micro_batch, "
                             "train.recompute = everything, fewer ranks, or a "
                             "smaller model"};
}

}  // namespace mumoe::launch
