#include "study/predict/measured_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <type_traits>

#include "base/error.h"
#include "base/file.h"
#include "base/number.h"

namespace mumoe::study {
namespace {

struct Column {
  const char* name;
  std::int64_t MeasuredRun::*member;  ///< none: the time, or the pipeline
};

constexpr const char* kTime = "iteration time (ms)";
constexpr const char* kPipeline = "pipeline parallelism";
constexpr std::array<Column, 9> kColumns = {{
    {"# GPUs", &MeasuredRun::gpus},
    {"global batch", &MeasuredRun::global_batch},
    {"micro batch", &MeasuredRun::micro_batch},
    {"hidden size", &MeasuredRun::hidden},
    {"attention heads", &MeasuredRun::heads},
    {"# layers", &MeasuredRun::layers},
    {"sequence length", &MeasuredRun::sequence},
    {"tensor parallelism", &MeasuredRun::tp},
    {"data parallelism", &MeasuredRun::dp},
}};
constexpr std::int64_t kMost = 1'000'000'000;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\"");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\"") - first + 1);
}

/// Where the first cell of `line` ends: a comma between quotation marks is a
/// part of it ("A100, 80 GB"), and two marks in them are one, which opens
/// again.
std::size_t cell_end(std::string_view line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') quoted = !quoted;
    if (line[i] == ',' && !quoted) return i;
  }
  return line.npos;
}

std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells;
  for (;;) {
    const auto comma = cell_end(line);
    cells.emplace_back(trimmed(line.substr(0, comma)));
    if (comma == line.npos) return cells;
    line.remove_prefix(comma + 1);
  }
}

/// One file, read row by row.
class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  void head(std::string_view line) {
    head_ = cells_of(line);
    // A byte-order mark, as spreadsheets write it.
    if (head_.front().starts_with("\xef\xbb\xbf")) head_.front().erase(0, 3);
    for (const Column& column : kColumns) require_one(column.name);
    require_one(kTime);
  }

  bool has_all_columns(std::string_view line) const {
    return cells_of(line).size() == head_.size();
  }

  MeasuredRun row(std::string_view line, std::int64_t number) const {
    const auto cells = cells_of(line);
    require(cells.size() == head_.size(),
            "{}: line {}: {} columns: expected {}, as its first line has",
            name_,
            number,
            cells.size(),
            head_.size());
    MeasuredRun run;
    run.line = number;
    for (const Column& column : kColumns) {
      run.*column.member =
          value<std::int64_t>(cells, column.name, number, 1, kMost);
    }
    run.milliseconds = value<double>(cells, kTime, number, 1e-6, 1e12);
    for (std::size_t i = 0; i < head_.size(); ++i) {
      if (head_[i] != kPipeline) continue;
      value<std::int64_t>(cells, kPipeline, number, 1, 1);
    }
    check(run, number);
    return run;
  }

 private:
  std::size_t index(const std::string& column) const {
    for (std::size_t i = 0; i < head_.size(); ++i) {
      if (head_[i] == column) return i;
    }
    fail<InputError>("{}: line 1: expected a column \"{}\"", name_, column);
  }

  void require_one(const std::string& column) const {
    index(column);
    require(std::ranges::count(head_, column) == 1,
            "{}: line 1: expected one column \"{}\"; there are several",
            name_,
            column);
  }

  template <class Number>
  Number value(const std::vector<std::string>& cells,
               const char* column,
               std::int64_t line,
               Number least,
               Number most) const {
    const std::string& text = cells[index(column)];
    try {
      // Programs that know of one kind of numbers write 8.0 for 8.
      const auto digits = text.find_first_not_of("0123456789");
      const bool whole = std::is_integral_v<Number> && digits > 0 &&
                         digits != text.npos && text[digits] == '.' &&
                         text.find_first_not_of('0', digits + 1) == text.npos;
      return parse_number<Number>(whole ? text.substr(0, digits) : text,
                                  least,
                                  most);
    } catch (const InputError& error) {
      fail<InputError>("{}: line {}: {} is \"{}\": {}",
                       name_,
                       line,
                       column,
                       text,
                       error.what());
    }
  }

  void check(const MeasuredRun& run, std::int64_t line) const {
    require(run.tp * run.dp == run.gpus,
            "{}: line {}: tensor x data parallelism is {} x {}: expected # "
            "GPUs, {}",
            name_,
            line,
            run.tp,
            run.dp,
            run.gpus);
    require(run.global_batch % (run.dp * run.micro_batch) == 0,
            "{}: line {}: global batch is {}: expected a multiple of data "
            "parallelism x micro batch, {} x {}",
            name_,
            line,
            run.global_batch,
            run.dp,
            run.micro_batch);
    require(run.hidden % run.heads == 0 && run.heads % run.tp == 0,
            "{}: line {}: attention heads is {}: expected a divisor of hidden "
            "size, {}, and a multiple of tensor parallelism, {}",
            name_,
            line,
            run.heads,
            run.hidden,
            run.tp);
  }

  const std::string& name_;
  std::vector<std::string> head_;
};

}  // namespace

std::vector<MeasuredRun> parse_measured_runs(const std::string& text,
                                             const std::string& name,
                                             std::vector<std::string>* notes) {
  std::vector<MeasuredRun> runs;
  Reader reader(name);
  std::int64_t number = 0;
  bool head = false;
  for (std::size_t begin = 0; begin < text.size();) {
    ++number;
    const auto end = text.find('\n', begin);
    const auto line = std::string_view(text).substr(begin, end - begin);
    begin = std::min(end, text.size() - 1) + 1;
    if (trimmed(line).empty()) continue;
    if (end == text.npos) {
      // A last number that is cut may still be one.
      require(notes != nullptr && head && reader.has_all_columns(line),
              "{}: line {}: its end is missing: expected a whole line; a file "
              "that was not written to its end is not read",
              name,
              number);
      notes->push_back(fmt::format(
          "{}: line {}: its end is missing, so that its last number may be "
          "cut; it is left out",
          name,
          number));
      break;
    }
    if (!head) {
      reader.head(line);
      head = true;
    } else {
      runs.push_back(reader.row(line, number));
    }
  }
  require(!runs.empty(), "{}: no rows: expected measured runs", name);
  return runs;
}

std::vector<MeasuredRun> read_measured_runs(const std::filesystem::path& file,
                                            std::vector<std::string>* notes) {
  return parse_measured_runs(read_file(file), file.string(), notes);
}

}  // namespace mumoe::study
