#include "study/report/loss_tables.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <optional>
#include <utility>

#include "study/report/axis.h"

namespace mumoe::study {
namespace {

using Kind = Column::Kind;
using Write = std::string (*)(double);

constexpr const char* kNone = "–";

std::string two_digits(double value) {
  return fmt::format("{:.2f}", value);
}
std::string three_digits(double value) {
  return fmt::format("{:.3f}", value);
}
std::string signed_digits(double value) {
  return fmt::format("{:+.3f}", value);
}
std::string times_digits(double value) {
  return std::isfinite(value) ? fmt::format("{:.3g}", value) : "never";
}

std::string in_brackets(const std::optional<Range>& range, Write write) {
  if (!range) return {};
  return fmt::format(" ({}..{})", write(range->low), write(range->high));
}

/// A law with its name.
using Named = std::pair<std::string, const DrawnLaw*>;
std::vector<Named> laws_of(const LossAnalysis& analysis) {
  std::vector<Named> laws;
  for (const FormLosses& form : analysis.forms) {
    laws.emplace_back(form.form, &form.law);
  }
  if (analysis.together) laws.emplace_back("all", &*analysis.together);
  return laws;
}

std::string of_law(const DrawnLaw& law,
                   Write write,
                   const std::function<double(const LossLaw&)>& of) {
  return write(of(*law.fit.law)) + in_brackets(law.range(of), write);
}

/// The runs of a form, or of all.
std::pair<std::size_t, std::size_t> counts_of(const LossAnalysis& analysis,
                                              const std::string& name,
                                              bool together) {
  std::size_t runs = 0, cells = 0;
  for (const FormLosses& form : analysis.forms) {
    if (!together && form.form != name) continue;
    for (const LossCurve& curve : form.curves) {
      cells += curve.cells.size();
      for (const LossCell& cell : curve.cells) runs += cell.losses.size();
    }
  }
  return {runs, cells};
}

std::string mean_text(const FormComparison& comparison) {
  auto text = fmt::format("{:+.2f} %", 100 * *comparison.mean);
  if (comparison.mean_range) {
    text += fmt::format(" ({:+.2f}..{:+.2f})",
                        100 * comparison.mean_range->low,
                        100 * comparison.mean_range->high);
  }
  return text;
}

}  // namespace

Table law_table(const LossAnalysis& analysis) {
  Table table{
      "L(N, D) = E + A / N^alpha + B / D^beta, nats a token; the best "
      "size for C FLOPs grows as C^a, its tokens as C^(1 - a).",
      {{"form"},
       {"E", Kind::number},
       {"alpha", Kind::number},
       {"beta", Kind::number},
       {"a", Kind::number}},
      {}};
  for (const auto& [name, law] : laws_of(analysis)) {
    if (!law->fit.law) continue;
    table.rows.push_back(
        {name,
         of_law(*law, two_digits, [](auto& each) { return each.E; }),
         of_law(*law, two_digits, [](auto& each) { return each.alpha; }),
         of_law(*law, two_digits, [](auto& each) { return each.beta; }),
         of_law(*law, two_digits, [](auto& each) {
           return each.size_exponent();
         })});
  }
  return table;
}

Table fit_table(const LossAnalysis& analysis) {
  Table table{
      "What the laws were fitted to. Off: root of the mean square of "
      "log(measured / law). Factor: FLOPs a token and parameter, and "
      "how far models are from it.",
      {{"form"},
       {"runs", Kind::number},
       {"cells", Kind::number},
       {"A", Kind::number},
       {"B", Kind::number},
       {"off %", Kind::number},
       {"factor", Kind::number}},
      {}};
  for (const auto& [name, law] : laws_of(analysis)) {
    if (!law->fit.law) continue;
    const bool together = analysis.together && law == &*analysis.together;
    const auto [runs, cells] = counts_of(analysis, name, together);
    std::string factor = kNone;
    for (const FormLosses& form : analysis.forms) {
      if (together || form.form != name) continue;
      factor = fmt::format("{:.2f} ±{:.0f} %",
                           form.factor.value,
                           100 * form.factor.off);
    }
    table.rows.push_back({name,
                          std::to_string(runs),
                          std::to_string(cells),
                          fmt::format("{:.4g}", law->fit.law->A),
                          fmt::format("{:.4g}", law->fit.law->B),
                          fmt::format("{:.2f}", 100 * law->scatter),
                          factor});
  }
  return table;
}

Table optimum_table(const LossAnalysis& analysis) {
  Table table{"The best size and tokens for a budget, by the laws.",
              {{"form"},
               {"FLOPs", Kind::number},
               {"parameters", Kind::number},
               {"tokens", Kind::number},
               {"loss", Kind::number}},
              {}};
  for (std::size_t i = 0; i < analysis.forms.size(); ++i) {
    for (const IsoFlop& iso : analysis.iso_flops[i]) {
      if (!iso.best) continue;
      table.rows.push_back({analysis.forms[i].form,
                            fmt::format("{:.3g}", iso.flops),
                            short_number(iso.best->parameters) +
                                in_brackets(iso.sizes, short_number),
                            short_number(iso.best->tokens) +
                                in_brackets(iso.tokens, short_number),
                            three_digits(iso.best->loss)});
    }
  }
  return table;
}

Table parabola_table(const LossAnalysis& analysis) {
  Table table{
      "Without a law: a parabola through the losses of all sizes at a "
      "budget, each between its measured tokens; its least.",
      {{"form"},
       {"FLOPs", Kind::number},
       {"sizes", Kind::number},
       {"parameters", Kind::number},
       {"loss", Kind::number}},
      {}};
  for (std::size_t i = 0; i < analysis.forms.size(); ++i) {
    for (const IsoFlop& iso : analysis.iso_flops[i]) {
      if (!iso.parabola) continue;
      table.rows.push_back(
          {analysis.forms[i].form,
           fmt::format("{:.3g}", iso.flops),
           std::to_string(iso.measured.size()),
           iso.found ? short_number(iso.found->parameters) : "outside",
           iso.found ? three_digits(iso.found->loss) : kNone});
    }
  }
  return table;
}

Table difference_table(const LossAnalysis& analysis) {
  const std::string base = analysis.forms[0].form;
  Table table{fmt::format("Loss less that of {0} of as many parameters after "
                          "as many tokens, between measured {0} models; "
                          "interval by the seeds. Laws: the same by both laws.",
                          base),
              {{"model"},
               {"tokens", Kind::number},
               {"loss", Kind::number},
               {"less " + base, Kind::number},
               {"by the laws", Kind::number}},
              {}};
  for (const FormComparison& comparison : analysis.comparisons) {
    for (const LossDifference& cell : comparison.cells) {
      table.rows.push_back(
          {cell.model,
           short_number(cell.tokens),
           three_digits(cell.loss),
           signed_digits(cell.difference()) +
               in_brackets(cell.range, signed_digits),
           cell.by_laws ? signed_digits(*cell.by_laws) +
                              in_brackets(cell.laws_range, signed_digits)
                        : kNone});
    }
  }
  return table;
}

Table multiplier_table(const LossAnalysis& analysis) {
  const std::string base = analysis.forms[0].form;
  Table table{
      fmt::format("How many times the FLOPs {} takes, by the laws, for "
                  "the least loss that the form has for these.",
                  base),
      {{"form"}, {"FLOPs", Kind::number}, {"times for " + base, Kind::number}},
      {}};
  for (const FormComparison& comparison : analysis.comparisons) {
    for (const ComputeMultiplier& each : comparison.multipliers) {
      table.rows.push_back(
          {comparison.form,
           fmt::format("{:.3g}", each.flops),
           times_digits(each.times) + in_brackets(each.range, times_digits)});
    }
  }
  return table;
}

Table loss_cell_table(const LossAnalysis& analysis) {
  Table table{
      "Validation losses, nats a token: means over the seeds, with the "
      "least and the largest; and what the form's law says.",
      {{"model"},
       {"form"},
       {"parameters", Kind::number},
       {"tokens", Kind::number},
       {"FLOPs", Kind::number},
       {"seeds", Kind::number},
       {"loss", Kind::number},
       {"law", Kind::number}},
      {}};
  for (const FormLosses& form : analysis.forms) {
    for (const LossCurve& curve : form.curves) {
      for (const LossCell& cell : curve.cells) {
        const auto& law = form.law.fit.law;
        std::string loss = fmt::format("{:.4f}", cell.mean());
        if (cell.losses.size() > 1) {
          loss += fmt::format(" ({:.4f}..{:.4f})", cell.low(), cell.high());
        }
        table.rows.push_back(
            {curve.model,
             form.form,
             fmt::format("{:.0f}", curve.parameters),
             fmt::format("{:.0f}", cell.tokens),
             fmt::format("{:.3g}", cell.tokens * curve.flops_per_token),
             std::to_string(cell.losses.size()),
             std::move(loss),
             law ? fmt::format("{:.4f}", law->at(curve.parameters, cell.tokens))
                 : kNone});
      }
    }
  }
  return table;
}

std::vector<std::string> loss_notes(const LossAnalysis& analysis) {
  std::vector<std::string> notes;
  for (const LossPoint& point : analysis.left_out) {
    notes.push_back(
        fmt::format("{}, {:.4g} tokens, seed {}: left out: its loss is {}",
                    point.model,
                    point.tokens,
                    point.seed,
                    point.loss));
  }
  for (const auto& [name, law] : laws_of(analysis)) {
    if (!law->fit.law) {
      notes.push_back(fmt::format("{}: no law; {}", name, law->fit.why_not));
    } else if (law->failed > 0 || law->draws.size() < 20) {
      notes.push_back(fmt::format(
          "{}: {} of {} draws gave no finite exponent; intervals are of the "
          "others{}",
          name,
          law->failed,
          analysis.draws,
          law->draws.size() < 20 ? ", too few for any" : ""));
    }
  }
  for (std::size_t i = 0; i < analysis.forms.size(); ++i) {
    std::string outside;
    for (const IsoFlop& iso : analysis.iso_flops[i]) {
      if (!iso.best || iso.measured_size) continue;
      outside +=
          fmt::format("{}{:.3g}", outside.empty() ? "" : ", ", iso.flops);
    }
    if (outside.empty()) continue;
    notes.push_back(
        fmt::format("{}: the best size for {} FLOPs lies beyond all measured "
                    "ones",
                    analysis.forms[i].form,
                    outside));
  }
  if (analysis.noise.degrees == 0 && analysis.forms.size() > 1) {
    notes.push_back(
        "one seed each: differences between forms have no interval by seeds");
  }
  return notes;
}

std::vector<std::string> comparison_lines(const LossAnalysis& analysis) {
  std::vector<std::string> lines;
  const std::string base = analysis.forms[0].form;
  for (const FormComparison& comparison : analysis.comparisons) {
    if (!comparison.mean) {
      lines.push_back(fmt::format("{}: nothing of {} has its sizes and tokens",
                                  comparison.form,
                                  base));
      continue;
    }
    lines.push_back(
        fmt::format("{}: loss {} of that of {}, in the mean of {} "
                    "cells of equal parameters and tokens",
                    comparison.form,
                    mean_text(comparison),
                    base,
                    comparison.cells.size()));
  }
  return lines;
}

}  // namespace mumoe::study
