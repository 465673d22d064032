#include "train/metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace mumoe::train {
namespace {

/// JSON has no word for what is not finite.
std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.17g}", value) : "null";
}

/// The lines of the file that belong to steps up to `last`.
std::string lines_up_to(const std::filesystem::path& path, std::int64_t last) {
  if (last == 0 || !std::filesystem::exists(path)) return {};
  std::istringstream in(read_file(path));
  std::string kept;
  for (std::string line; std::getline(in, line);) {
    const auto entry =
        nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    // A line cut short by a crash is no JSON; its step is repeated.
    if (entry.is_object() && entry.value("step", last + 1) <= last) {
      kept += line + "\n";
    }
  }
  return kept;
}

}  // namespace

std::string to_json(const StepReport& r) {
  std::string line =
      fmt::format(R"({{"step":{},"tokens":{},"loss":{},"grad_norm":{},"lr":{},)"
                  R"("step_ms":{},"tokens_per_s":{},"mfu":{},"dp_bytes":{},)"
                  R"("tp_bytes":{},"all_bytes":{},"rss_mib":{})",
                  r.step,
                  r.tokens,
                  number(r.loss),
                  number(r.grad_norm),
                  number(r.lr),
                  number(r.step_ms),
                  number(r.tokens_per_s),
                  number(r.mfu),
                  r.dp_bytes,
                  r.tp_bytes,
                  r.all_bytes,
                  number(r.rss_mib));
  if (r.active_share) line += R"(,"active_share":)" + number(*r.active_share);
  if (r.val_loss) line += R"(,"val_loss":)" + number(*r.val_loss);
  return line + "}";
}

MetricsFile::MetricsFile(const std::filesystem::path& folder,
                         std::int64_t resumed_step)
    : path_(folder / "metrics.jsonl") {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, folder.string(), ": cannot create: ", error.message());
  write_file_atomically(path_, lines_up_to(path_, resumed_step));
  out_.open(path_, std::ios::app);
  require(out_.good(), path_.string(), ": cannot open for writing");
}

void MetricsFile::write(const StepReport& report) {
  out_ << to_json(report) << std::endl;
  require(out_.good(), path_.string(), ": cannot write (disk full?)");
}

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return static_cast<double>(resident) *
         static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

}  // namespace mumoe::train
