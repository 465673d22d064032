#include "study/report/scale_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <utility>

#include "study/report/scale_series.h"

namespace mumoe::study {
namespace {

/// A kind of chart: what it shows, and the series of one panel.
struct Subject {
  std::string name;
  std::string title;
  std::string y;
  Scale scale = Scale::linear;
  std::string caption;
  std::function<std::vector<Series>(const Scope&)> series;
  std::vector<Series> keys = {};
};

Series key(std::string name, Line line, bool banded = false) {
  return {std::move(name), {kNoColour, line, false}, {}, {}, banded};
}

Subject memory_subject(const std::vector<ScaleCell>& cells) {
  const bool large = largest(cells, memory_mib) >= 8192;
  const bool on_gpu = largest(cells, [](auto& run) { return run.gpu_mib; }) > 0;
  return {"memory",
          "Memory of a rank",
          large ? "GiB a rank" : "MiB a rank",
          Scale::linear,
          on_gpu ? "Largest GPU memory of rank 0; predicted: dashed."
                 : "Largest resident memory of rank 0; predicted: dashed.",
          [unit = large ? 1024. : 1.](const Scope& scope) {
            return memory_series(scope, unit);
          },
          {key("predicted", Line::dashed)}};
}

Subject bytes_subject(const std::vector<ScaleCell>& cells) {
  const double most = most_bytes(cells);
  const auto [unit, name] = most >= 1e10  ? std::pair(1e9, "GB")
                            : most >= 1e7 ? std::pair(1e6, "MB")
                                          : std::pair(1e3, "kB");
  return {
      "bytes",
      "Communication by mesh axis",
      fmt::format("{} a step", name),
      Scale::linear,
      "Payload that rank 0 hands to collectives in one step, as counted. What "
      "is less than a hundredth of the most is in the table alone.",
      [unit = unit](const Scope& scope) { return bytes_series(scope, unit); },
      {key("over dp", Line::solid),
       key("over tp", Line::dashed),
       key("over all ranks", Line::dotted)}};
}

std::vector<Subject> subjects_of(const std::vector<ScaleCell>& cells) {
  const auto targets = targets_of(cells);
  const Series predicted = key("predicted, 90 % band", Line::dashed, true);
  return {
      {"throughput",
       "Throughput",
       targets + "/s",
       Scale::log10,
       "All ranks together. Points: medians of the repeats, bars from the "
       "least to the largest. Ideal: that of the fewest ranks times the "
       "ranks.",
       throughput_series,
       {predicted}},
      {"efficiency",
       "Parallel efficiency",
       fmt::format("{}/s a rank, % of baseline", targets),
       Scale::linear,
       "Throughput of a rank relative to the fastest cell of the same model "
       "on the fewest ranks.",
       efficiency_series,
       {predicted}},
      {"mfu",
       "Use of the peak",
       "% of peak",
       Scale::linear,
       "MFU: the model's FLOPs over the step's time, of what the ranks can "
       "do. Speed of light: the time of the products alone at the peak over "
       "the step's.",
       peak_series,
       {key("MFU", Line::solid), key("speed of light", Line::dashed)}},
      memory_subject(cells),
      bytes_subject(cells),
      {"exposed",
       "Exposed communication",
       "ms a step",
       Scale::linear,
       "What a step waits for collectives that computing does not hide.",
       exposed_series}};
}

/// The values of a setting in the order in which they come up.
std::vector<std::string> values_of(const std::vector<ScaleCell>& cells,
                                   std::string ScaleResult::*member) {
  std::vector<std::string> values;
  for (const ScaleCell& cell : cells) {
    const std::string& value = cell.what.*member;
    if (std::find(values.begin(), values.end(), value) == values.end()) {
      values.push_back(value);
    }
  }
  return values;
}

bool has_points(const Chart& chart) {
  for (const Panel& panel : chart.panels) {
    for (const Series& series : panel.series) {
      if (!series.points.empty() && series.look.number != kNoColour) {
        return true;
      }
    }
  }
  return false;
}

/// Keys of kinds of lines that the chart has.
std::vector<Series> keys_for(const Chart& chart, const Subject& subject) {
  std::vector<Series> keys;
  for (const Series& key : subject.keys) {
    for (const Panel& panel : chart.panels) {
      const bool there = std::any_of(
          panel.series.begin(),
          panel.series.end(),
          [&](const Series& series) {
            return series.look.line == key.look.line && !series.points.empty();
          });
      if (!there) continue;
      keys.push_back(key);
      break;
    }
  }
  return keys;
}

/// One line that names the cells without any measured run; empty: none.
std::string missing_note(const std::vector<ScaleCell>& cells,
                         const std::string& scaling) {
  std::string names;
  int more = 0;
  for (const ScaleCell& cell : cells) {
    if (cell.measured() || cell.what.scaling != scaling) continue;
    if (names.size() > 150) {
      ++more;
    } else {
      names += (names.empty() ? "" : ", ") + cell.what.cell;
    }
  }
  if (names.empty()) return {};
  if (more > 0) names += fmt::format(" and {} more", more);
  return "Failed, so not here: " + names + '.';
}

/// A part of a file's name: letters and digits of `text`, _ for others.
std::string file_word(std::string text) {
  for (char& c : text) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return text.substr(0, 40);
}

}  // namespace

std::string targets_of(const std::vector<ScaleCell>& cells) {
  const auto kinds = values_of(cells, &ScaleResult::target);
  return kinds.size() == 1 && !kinds[0].empty() ? kinds[0] + 's' : "targets";
}

std::vector<NamedChart> scale_charts(const std::vector<ScaleCell>& cells) {
  const auto families = families_of(cells);
  std::map<std::string, int> looks;
  for (const Family& family : families) {
    looks.emplace(family.name, static_cast<int>(looks.size()));
  }
  std::vector<NamedChart> charts;
  for (const Subject& subject : subjects_of(cells)) {
    for (const auto& scaling : values_of(cells, &ScaleResult::scaling)) {
      Chart chart{fmt::format("{}, {} scaling", subject.title, scaling),
                  {"ranks", Scale::log2, false},
                  {subject.y, subject.scale, subject.scale == Scale::linear},
                  {}};
      for (const auto& model : values_of(cells, &ScaleResult::model)) {
        Scope scope{cells, {}, looks};
        for (const Family& family : families) {
          if (family.model == model && family.scaling == scaling) {
            scope.families.push_back(family);
          }
        }
        if (scope.families.empty()) continue;
        chart.panels.push_back({model, subject.series(scope)});
      }
      if (!has_points(chart)) continue;
      chart.keys = keys_for(chart, subject);
      const auto note = missing_note(cells, scaling);
      if (!note.empty()) chart.notes.push_back(note);
      charts.push_back({subject.name + '_' + file_word(scaling),
                        subject.title,
                        subject.caption,
                        std::move(chart)});
    }
  }
  return charts;
}

}  // namespace mumoe::study
