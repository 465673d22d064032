#include "study/runs/run_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "study/report/axis.h"

namespace mumoe::study {
namespace {

using Runs = std::span<const RunRecord>;
using Row = std::vector<std::string>;

std::string number(double value, int digits) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : "-";
}

std::string percent(double share) {
  return number(100 * share, 1);
}

std::string count(std::int64_t value) {
  return fmt::format("{}", value);
}

Column words(std::string name) {
  return {std::move(name), Column::Kind::words};
}
Column figure(std::string name) {
  return {std::move(name), Column::Kind::number};
}

/// A name, then a column a run.
std::vector<Column> column_a_run(Runs runs, const char* first) {
  std::vector<Column> columns = {words(first)};
  for (const RunRecord& run : runs) {
    columns.push_back({run.name, Column::Kind::words});
  }
  return columns;
}

/// Long ones would make a page as wide as they are.
std::string shortened_text(const std::string& text) {
  constexpr std::size_t kMost = 60;
  if (text.size() <= kMost) return text;
  std::size_t size = kMost;
  while (size > 0 && (text[size] & 0xc0) == 0x80) --size;
  return text.substr(0, size) + "…";
}

}  // namespace

std::string time_text(double seconds) {
  if (!std::isfinite(seconds)) return "-";
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole >= 3600) {
    return fmt::format("{}h{:02}m", whole / 3600, whole / 60 % 60);
  }
  if (whole >= 60) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{:.1f} s", seconds);
}

Table run_table(Runs runs) {
  Table table;
  table.columns = {words("run"),
                   figure("steps"),
                   figure("of"),
                   figure("trained on"),
                   figure("loss"),
                   figure("validation"),
                   figure("best"),
                   figure("at step"),
                   figure("time"),
                   figure("step, ms"),
                   figure("a second"),
                   figure("MFU, %"),
                   figure("SOL, %"),
                   figure("active, %"),
                   figure("dead")};
  table.caption =
      "Loss: mean of the last hundredth of the steps, at least 10. Times and "
      "rates: medians of all steps but the first two. SOL: speed of light.";
  for (const RunRecord& run : runs) {
    const RunSummary s = summary_of(run);
    const bool experts = s.experts > 0;
    table.rows.push_back(
        {run.name,
         count(s.steps),
         run.setting("train.steps"),
         fmt::format("{} {}s", short_number(s.targets), run.metrics.target),
         number(s.loss, 4),
         number(s.last_loss, 4),
         number(s.best_loss, 4),
         s.best_step > 0 ? count(s.best_step) : "-",
         time_text(s.elapsed_s),
         number(s.step_ms, 1),
         number(s.targets_per_s, 0),
         percent(s.mfu),
         percent(s.sol),
         experts ? percent(s.active) : "-",
         experts ? fmt::format("{} of {}", s.dead, s.experts) : "-"});
  }
  return table;
}

Table expert_table(Runs runs) {
  Table table;
  table.columns = {words("run"),
                   figure("gate"),
                   words("layer"),
                   figure("experts"),
                   figure("active, %"),
                   figure("effective"),
                   figure("dead"),
                   figure("idle"),
                   figure("entropy, nats"),
                   figure("largest, 10 %"),
                   figure("50 %"),
                   figure("90 %"),
                   figure("least load"),
                   figure("largest load")};
  table.caption =
      "Idle: no token gave it half of an even share. Largest: percentiles over "
      "tokens of the largest coefficient. Load: mean coefficient of an expert "
      "over that of an even load.";
  for (const RunRecord& run : runs) {
    if (run.metrics.experts.empty()) continue;
    int place = 0;
    for (const auto& gate : run.metrics.experts.back().gates) {
      table.rows.push_back({run.name,
                            count(place++),
                            gate.layer,
                            count(gate.experts),
                            percent(gate.active),
                            number(gate.effective, 1),
                            count(gate.dead),
                            count(gate.idle),
                            number(gate.entropy, 3),
                            number(gate.largest[0], 3),
                            number(gate.largest[1], 3),
                            number(gate.largest[2], 3),
                            number(gate.load.front(), 3),
                            number(gate.load.back(), 3)});
    }
  }
  return table;
}

Table event_table(Runs runs) {
  constexpr std::size_t kMost = 200;
  Table table;
  table.columns = {words("run"),
                   figure("step"),
                   words("what"),
                   {"details", Column::Kind::prose}};
  std::size_t left_out = 0;
  for (const RunRecord& run : runs) {
    for (const RunEvent& event : run.metrics.events) {
      if (event.what == "sample") continue;
      if (table.rows.size() == kMost) {
        ++left_out;
        continue;
      }
      table.rows.push_back(
          {run.name, count(event.step), event.what, event.text});
    }
  }
  if (left_out > 0) {
    table.caption = fmt::format("The first {}; {} more.", kMost, left_out);
  }
  return table;
}

Table provenance_table(Runs runs) {
  Table table;
  table.columns = column_a_run(runs, "");
  const auto add = [&](const std::string& name,
                       const std::function<std::string(const RunRecord&)>& of) {
    Row row = {name};
    for (const RunRecord& run : runs) {
      row.push_back(shortened_text(of(run)));
    }
    const bool any = std::any_of(row.begin() + 1, row.end(), [](const auto& t) {
      return !t.empty();
    });
    if (any) table.rows.push_back(std::move(row));
  };
  add("layout", [](const RunRecord& run) {
    return fmt::format("dp {} x tp {}, {}",
                       run.made_with("mesh.dp"),
                       run.made_with("mesh.tp"),
                       run.setting("parallel.plan"));
  });
  add("folder", [](const RunRecord& run) { return run.folder.string(); });
  add("first step", [](const RunRecord& run) { return run.metrics.began; });
  add("last step", [](const RunRecord& run) { return run.metrics.ended; });
  add("checkpoints", [](const RunRecord& run) {
    return fmt::format("{}, waited {:.1f} s for them",
                       run.metrics.saves,
                       run.metrics.save_stall_s);
  });
  add("memory of rank 0, MiB", [](const RunRecord& run) {
    return run.metrics.gpu_mib > 0 ? fmt::format("{:.0f}, GPU {:.0f}",
                                                 run.metrics.rss_mib,
                                                 run.metrics.gpu_mib)
                                   : fmt::format("{:.0f}", run.metrics.rss_mib);
  });
  std::vector<std::string> names;
  for (const RunRecord& run : runs) {
    for (const auto& [name, value] : run.provenance) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  for (const std::string& name : names) {
    add(name, [&](const RunRecord& run) { return run.made_with(name); });
  }
  return table;
}

Table settings_table(Runs runs) {
  Table table;
  table.columns = column_a_run(runs, "setting");
  std::set<std::string> keys;
  for (const RunRecord& run : runs) {
    for (const auto& [key, value] : run.settings) keys.insert(key);
  }
  for (const std::string& key : keys) {
    if (key == "train.out" || key == "train.resume") continue;
    Row row = {key};
    for (const RunRecord& run : runs) {
      row.push_back(shortened_text(run.setting(key)));
    }
    const bool same = std::all_of(row.begin() + 1,
                                  row.end(),
                                  [&](const auto& t) { return t == row[1]; });
    if (runs.size() == 1 || !same) table.rows.push_back(std::move(row));
  }
  return table;
}

std::vector<RunEvent> newest_samples(const RunRecord& run) {
  std::vector<RunEvent> newest;
  for (auto event = run.metrics.events.rbegin();
       event != run.metrics.events.rend() && newest.size() < 3;
       ++event) {
    if (event->what == "sample") newest.push_back(*event);
  }
  return newest;
}

}  // namespace mumoe::study
