#include "launch/pinning.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <tuple>

#include "base/error.h"
#include "dist/gather_text.h"
#include "dist/host.h"

namespace mumoe::launch {
namespace {

// Enough for every machine that Linux runs on today.
constexpr int kMostCpus = 8192;

/// A set of CPUs of any size, as the kernel takes it.
class CpuSet {
 public:
  CpuSet() : set_(CPU_ALLOC(kMostCpus)) { CPU_ZERO_S(bytes(), set_); }
  ~CpuSet() { CPU_FREE(set_); }
  CpuSet(const CpuSet&) = delete;
  CpuSet& operator=(const CpuSet&) = delete;

  static std::size_t bytes() { return CPU_ALLOC_SIZE(kMostCpus); }
  cpu_set_t* get() { return set_; }
  void add(int id) { CPU_SET_S(id, bytes(), set_); }
  std::vector<int> ids() const {
    std::vector<int> ids;
    for (int id = 0; id < kMostCpus; ++id) {
      if (CPU_ISSET_S(id, bytes(), set_)) ids.push_back(id);
    }
    return ids;
  }

 private:
  cpu_set_t* set_;
};

std::vector<int> allowed_ids() {
  CpuSet set;
  if (::sched_getaffinity(0, CpuSet::bytes(), set.get()) != 0) return {};
  return set.ids();
}

// The first number in a file, such as "0,64" or "3".
int read_number(const std::filesystem::path& file, int otherwise) {
  int value = otherwise;
  std::ifstream(file) >> value;
  return value;
}

// /sys/devices/system/cpu/cpu3 holds a link named node0.
int numa_node(const std::filesystem::path& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("node") && name.size() > 4 &&
        std::isdigit(static_cast<unsigned char>(name[4]))) {
      return std::atoi(name.c_str() + 4);
    }
  }
  return 0;
}

auto place_of(const Cpu& cpu) {
  return std::tuple(cpu.node, cpu.package, cpu.core);
}

// Memory of another NUMA node is slow, so that ranks must not wander between
// nodes. On a single one they may: a bound rank cannot leave a core that some
// other program wants as well.
bool must_bind(const std::vector<Cpu>& cpus) {
  const char* text = std::getenv("MUMOE_PIN");
  const std::string_view pin = text == nullptr ? "auto" : text;
  require(pin == "auto" || pin == "yes" || pin == "no",
          "MUMOE_PIN={}: expected auto, yes or no",
          pin);
  if (pin != "auto") return pin == "yes";
  return !cpus.empty() && cpus.front().node != cpus.back().node;
}

void bind(const std::vector<Cpu>& cpus) {
  CpuSet set;
  for (const Cpu& cpu : cpus) set.add(cpu.id);
  // Where it is forbidden the rank runs unbound, as the start table shows.
  ::sched_setaffinity(0, CpuSet::bytes(), set.get());
}

}  // namespace

std::vector<Cpu> allowed_cpus() {
  std::vector<Cpu> cpus;
  for (const int id : allowed_ids()) {
    const std::filesystem::path folder =
        "/sys/devices/system/cpu/cpu" + std::to_string(id);
    cpus.push_back(
        {.id = id,
         .node = numa_node(folder),
         .package = read_number(folder / "topology/physical_package_id", 0),
         .core = read_number(folder / "topology/core_cpus_list", id)});
  }
  std::sort(cpus.begin(), cpus.end(), [](const Cpu& a, const Cpu& b) {
    return std::tuple(place_of(a), a.id) < std::tuple(place_of(b), b.id);
  });
  return cpus;
}

int count_cores(const std::vector<Cpu>& cpus) {
  int cores = 0;
  for (std::size_t i = 0; i < cpus.size(); ++i) {
    cores += i == 0 || place_of(cpus[i]) != place_of(cpus[i - 1]);
  }
  return cores;
}

std::vector<Cpu> share_of(const std::vector<Cpu>& cpus, int part, int parts) {
  const bool whole_cores = count_cores(cpus) >= parts;
  const int units =
      whole_cores ? count_cores(cpus) : static_cast<int>(cpus.size());
  const int first = units / parts * part;
  const int last = first + units / parts;
  std::vector<Cpu> share;
  int unit = -1;
  for (std::size_t i = 0; i < cpus.size(); ++i) {
    unit +=
        !whole_cores || i == 0 || place_of(cpus[i]) != place_of(cpus[i - 1]);
    if (unit >= first && unit < last) share.push_back(cpus[i]);
  }
  return share;
}

std::string to_text(std::vector<int> ids) {
  std::sort(ids.begin(), ids.end());
  std::string text;
  for (std::size_t i = 0; i < ids.size();) {
    std::size_t end = i + 1;
    while (end < ids.size() && ids[end] == ids[end - 1] + 1) ++end;
    if (!text.empty()) text += ",";
    text += std::to_string(ids[i]);
    if (end > i + 1) text += "-" + std::to_string(ids[end - 1]);
    i = end;
  }
  return text;
}

std::string cpus_of_this_thread() {
  return to_text(allowed_ids());
}

void pin_to_cores(dist::Communicator& world) {
  const std::vector<Cpu> own = allowed_cpus();
  const bool wanted = must_bind(own);
  const dist::Host host = dist::this_host();
  const auto allowed = dist::gather_text(
      world,
      fmt::format("{} {} {}", host.name, host.machine, cpus_of_this_thread()));
  const auto mine = allowed.begin() + world.rank();
  const auto part = std::count(allowed.begin(), mine, *mine);
  const auto parts = std::count(allowed.begin(), allowed.end(), *mine);
  const auto cpus =
      share_of(own, static_cast<int>(part), static_cast<int>(parts));
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    at::set_num_threads(std::max(1, count_cores(cpus)));
  }
  const bool fits = at::get_num_threads() <= static_cast<int>(cpus.size());
  if (wanted && fits && parts > 1) bind(cpus);
}

}  // namespace mumoe::launch
