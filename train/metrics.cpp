#include "train/metrics.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace mumoe::train {
namespace {

/// JSON has no word for what is not finite.
std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.17g}", value) : "null";
}

std::filesystem::path file_in(const std::filesystem::path& folder) {
  return folder / "metrics.jsonl";
}

/// The step of one line. Throws `InputError` that begins with `where`.
std::int64_t step_of(std::string_view line, const std::string& where) {
  const auto entry = parse_json(line, where);
  const auto found = entry.is_object() ? entry.find("step") : entry.end();
  const auto step = found == entry.end() ? std::nullopt : as_count(*found);
  require(step && *step > 0,
          "{}: {}: expected an object whose step is a whole number, 1 or more; "
          "mend or remove this line",
          where,
          line);
  return *step;
}

/// The lines of the file that belong to steps up to `last`.
std::string lines_up_to(const std::filesystem::path& path, std::int64_t last) {
  std::error_code error;
  if (last == 0 || !(std::filesystem::exists(path, error) || error)) return {};
  const std::string text = read_file(path);
  std::string kept;
  int number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    // Cut short by a crash; its step is repeated.
    if (end == text.npos) break;
    auto line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    line = line.substr(0, line.find_last_not_of(" \t\r") + 1);
    if (line.empty()) continue;
    if (step_of(line, fmt::format("{}:{}", path.string(), number)) <= last) {
      kept.append(line) += '\n';
    }
  }
  return kept;
}

/// Of a text whose lines all have their ends.
std::string_view last_line(std::string_view text) {
  text.remove_suffix(1);
  return text.substr(text.rfind('\n') + 1);
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

void require_metrics(const std::filesystem::path& folder) {
  lines_up_to(file_in(folder), std::numeric_limits<std::int64_t>::max());
}

MetricsFile::MetricsFile(const std::filesystem::path& folder,
                         std::int64_t resumed_step)
    : path_(file_in(folder)) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, "{}: cannot create: {}", folder.string(), error.message());
  const std::string kept = lines_up_to(path_, resumed_step);
  write_file_atomically(path_, kept);
  if (!kept.empty()) {
    const auto last = parse_json(last_line(kept), path_.string());
    last_step_ = as_count(last.at("step")).value();
    const auto loss = last.find("val_loss");
    if (loss != last.end() && loss->is_number()) val_loss_ = *loss;
  }
  out_.open(path_, std::ios::app);
  require(out_.good(), "{}: cannot open for writing", path_.string());
}

void MetricsFile::write(const StepReport& report) {
  out_ << to_json(report) << std::endl;
  require(out_.good(), "{}: cannot write (disk full?)", path_.string());
  last_step_ = report.step;
  val_loss_ = report.val_loss;
}

void MetricsFile::add_val_loss(double loss) {
  std::fstream file(path_, std::ios::in | std::ios::out);
  file.seekp(-2, std::ios::end);  // where the last object ends: }\n
  file << R"(,"val_loss":)" << number(loss) << "}" << std::endl;
  require(file.good(), "{}: cannot write (disk full?)", path_.string());
  val_loss_ = loss;
}

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return static_cast<double>(resident) *
         static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

}  // namespace mumoe::train
