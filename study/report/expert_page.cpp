#include "study/report/expert_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "study/report/expert_charts.h"
#include "study/report/expert_page_text.h"
#include "study/report/inline_svg.h"
#include "study/report/page.h"

namespace mumoe::study {
namespace {

/// JSON as the text of a script element, which nothing in it ends.
std::string as_script(std::string json) {
  for (std::size_t at = 0; (at = json.find('<', at)) != json.npos;) {
    json.replace(at, 1, "\\u003c");
  }
  return json;
}

std::string facts_of(const ExpertStudy& study, std::int64_t shown) {
  std::string facts = fmt::format("step {}: {}; {} samples of {}, {}",
                                  study.facts.step,
                                  study.facts.model,
                                  study.facts.samples,
                                  study.facts.data,
                                  study.facts.part);
  if (shown < study.per_expert) {
    facts += fmt::format(
        "; of each {} examples that were found, {} have room "
        "here",
        study.per_expert,
        shown);
  }
  return facts;
}

std::string page_with(const ExpertStudy& study,
                      const std::string& chart,
                      std::int64_t shown) {
  const std::string title = fmt::format("Experts of {}", study.facts.run);
  std::string explained =
      "A coefficient says how much an expert takes part at a token; those of a "
      "layer sum to 1. ";
  if (study.text()) {
    explained +=
        "Promoted tokens: what the output of the layer loses without the "
        "expert, mean over its largest coefficients, led straight to the "
        "logits; what later layers make of it is left out.";
  } else if (std::ranges::count(study.units, TokenUnit::channel) > 0) {
    explained +=
        "What mixes channels has coefficients for each patch, what mixes "
        "patches for each hidden channel of an image: of those, images are "
        "shown whole.";
  }
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
      "'none'; img-src data:; style-src 'unsafe-inline'; script-src "
      "'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
      "<title>{0}</title>\n<style>\n{1}</style>\n</head>\n<body>\n"
      "<h1>{0}</h1>\n<p class=\"soft\">{2}</p>\n"
      "<div id=\"tabs\" role=\"tablist\" aria-label=\"Views\"></div>\n"
      "<main id=\"view\" role=\"tabpanel\"><noscript><p>This page needs its "
      "own "
      "script.</p></noscript></main>\n<p class=\"soft\">{3}</p>\n"
      "<template id=\"chart\">{7}</template>\n"
      "<script type=\"application/json\" id=\"data\">{4}</script>\n"
      "<script>\n{5}{6}</script>\n</body>\n</html>\n",
      escaped(title),
      kExpertPageStyle,
      escaped(facts_of(study, shown)),
      escaped(explained),
      as_script(expert_page_data(study, shown)),
      kExpertPageScript,
      kExpertPageViews,
      chart);
}

}  // namespace

std::string expert_page(const ExpertStudy& study, std::size_t most) {
  const Chart drawn = expert_chart(study);
  const std::string chart = inline_svg(chart_svg(drawn), "use", drawn.title);
  for (std::int64_t shown = study.per_expert;; shown = shown * 3 / 4) {
    std::string page = page_with(study, chart, shown);
    if (page.size() <= most || shown <= 1) return page;
  }
}

void write_expert_page(const std::filesystem::path& folder,
                       const ExpertStudy& study) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, "{}: {}", folder.string(), error.message());
  const Chart chart = expert_chart(study);
  write_file_atomically(folder / "experts.svg", chart_svg(chart));
  write_file_atomically(folder / "experts.png", chart_png(chart));
  write_file_atomically(folder / kExpertPage, expert_page(study));
}

}  // namespace mumoe::study
