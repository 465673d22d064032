// Tables as wide as a terminal.
#include "launch/fitted_table.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

namespace mumoe::launch {
namespace {

const FittedTable::Cells kHead = {"tensor", "shape", "norm", "not finite"};
const std::vector<FittedTable::Cells> kRows = {
    {"master.wte", "256x16", "2.562e-01", ""},
    {"master.h.0.mlp.gate.0", "16x6", "damaged", ""}};

TEST(FittedTable, ColumnsWhereTheyHaveRoom) {
  const std::string columns =
      "tensor                  shape       norm\n"
      "master.wte             256x16  2.562e-01\n"
      "master.h.0.mlp.gate.0    16x6    damaged";
  EXPECT_EQ(FittedTable(40).rows(kHead, kRows).text(), "\n" + columns);
  EXPECT_EQ(FittedTable(39).rows(kHead, kRows).text(),
            "\n"
            "tensor master.wte\n"
            "    shape 256x16, norm 2.562e-01\n"
            "tensor master.h.0.mlp.gate.0\n"
            "    shape 16x6, norm damaged");
  auto rows = kRows;
  rows[1][3] = "7";
  const std::string wide = FittedTable(80).rows(kHead, rows).text();
  EXPECT_NE(wide.find("damaged           7"), std::string::npos) << wide;
  EXPECT_EQ(FittedTable(80).rows(kHead, {}).text(), "");
}

TEST(FittedTable, FactsBreakBetweenWordsThatBelongTogether) {
  EXPECT_EQ(
      FittedTable(40)
          .fact("settings", {"model.width = 16", "log.trace = empty", "a = b"})
          .fact("newest", "none")
          .fact("nothing", FittedTable::Cells{})
          .text(),
      "settings    model.width = 16,\n"
      "            log.trace = empty, a = b\n"
      "newest      none");
}

TEST(FittedTable, NoLineIsLongerButForAWordThatIs) {
  const std::string path(70, 'p');
  for (const std::size_t columns : {40u, 50u, 80u, 120u}) {
    const std::string text =
        FittedTable(columns)
            .fact("damaged", path + ": is not what was written, and that is so")
            .rows(kHead, kRows)
            .text();
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.ends_with(path + ":")) continue;
      EXPECT_LE(line.size(), columns) << line;
    }
  }
}

}  // namespace
}  // namespace mumoe::launch
