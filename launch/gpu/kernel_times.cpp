// The time that a program's kernels take on a GPU, for the stage `profile` of
// launch/gpu_check. The CUDA driver loads this library into the program that
// CUDA_INJECTION64_PATH names it to; when the program ends, the file that
// MUMOE_KERNEL_TIMES names has a line for each kernel and kind of copy, in no
// order: {"kernel", "calls", "ms"}.

#include <cupti.h>
#include <cxxabi.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace {

struct Sum {
  std::int64_t calls = 0;
  std::uint64_t ns = 0;
};

// CUPTI gives its callbacks nothing of ours. Never destroyed: they may come
// until the process is gone.
struct Sums {
  std::mutex mutex;
  std::map<std::string, Sum> by_name;
};
Sums& sums() {
  static auto* all = new Sums;
  return *all;
}

void add(const char* name, std::uint64_t start, std::uint64_t end) {
  const std::lock_guard lock(sums().mutex);
  Sum& sum = sums().by_name[name ? name : "unnamed"];
  ++sum.calls;
  sum.ns += end - start;
}

void add(const CUpti_Activity& record) {
  if (record.kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
    const auto& of = reinterpret_cast<const CUpti_ActivityKernel10&>(record);
    add(of.name, of.start, of.end);
  } else if (record.kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
    const auto& of = reinterpret_cast<const CUpti_ActivityMemcpy6&>(record);
    add(of.copyKind == CUPTI_ACTIVITY_MEMCPY_KIND_HTOD   ? "copy to the device"
        : of.copyKind == CUPTI_ACTIVITY_MEMCPY_KIND_DTOH ? "copy to the host"
                                                         : "copy",
        of.start,
        of.end);
  } else if (record.kind == CUPTI_ACTIVITY_KIND_MEMSET) {
    const auto& of = reinterpret_cast<const CUpti_ActivityMemset4&>(record);
    add("memset", of.start, of.end);
  }
}

void CUPTIAPI give_buffer(std::uint8_t** buffer,
                          std::size_t* size,
                          std::size_t* most_records) {
  *size = 8 << 20;
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(8, *size));
  *most_records = 0;  // as many as fit
}

void CUPTIAPI take_buffer(CUcontext,
                          std::uint32_t,
                          std::uint8_t* buffer,
                          std::size_t,
                          std::size_t filled) {
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, filled, &record) == CUPTI_SUCCESS) {
    add(*record);
  }
  std::free(buffer);
}

/// As a JSON string, as it was written in the source.
std::string quoted(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
      std::free);
  std::string text = "\"";
  for (const char* c = readable ? readable.get() : name.c_str(); *c; ++c) {
    if (*c == '"' || *c == '\\') text += '\\';
    if (static_cast<unsigned char>(*c) >= ' ') text += *c;
  }
  return text + '"';
}

void write_times() {
  cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
  const char* path = std::getenv("MUMOE_KERNEL_TIMES");
  std::FILE* file = path ? std::fopen(path, "w") : nullptr;
  if (!file) return;
  const std::lock_guard lock(sums().mutex);
  for (const auto& [name, sum] : sums().by_name) {
    std::fprintf(file,
                 "{\"kernel\":%s,\"calls\":%lld,\"ms\":%.6f}\n",
                 quoted(name).c_str(),
                 static_cast<long long>(sum.calls),
                 1e-6 * static_cast<double>(sum.ns));
  }
  std::fclose(file);
}

bool begin() {
  if (cuptiActivityRegisterCallbacks(give_buffer, take_buffer) !=
      CUPTI_SUCCESS) {
    return false;
  }
  for (const auto kind : {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                          CUPTI_ACTIVITY_KIND_MEMCPY,
                          CUPTI_ACTIVITY_KIND_MEMSET}) {
    if (cuptiActivityEnable(kind) != CUPTI_SUCCESS) return false;
  }
  return std::atexit(write_times) == 0;
}

}  // namespace

/// Called by the driver before the program's first use of it.
extern "C" __attribute__((visibility("default"))) int InitializeInjection() {
  if (!begin()) {
    std::fprintf(stderr, "kernel_times: CUPTI does not record kernels here\n");
  }
  return 1;
}
