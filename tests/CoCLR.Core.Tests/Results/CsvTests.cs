// Why this exists: an exported table must not run anything when it is opened in a spreadsheet, and must come back as it was.
using System.Text;
using CoCLR.Core.Results;

namespace CoCLR.Core.Tests.Results;

public class CsvTests
{
    [Theory]
    [InlineData("plain", "plain")]
    [InlineData("", "")]
    [InlineData("a,b", "\"a,b\"")]
    [InlineData("say \"hi\"", "\"say \"\"hi\"\"\"")]
    [InlineData("two\nlines", "\"two\nlines\"")]
    [InlineData("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\"")]
    [InlineData("+1", "\"'+1\"")]
    [InlineData("-x", "\"'-x\"")]
    [InlineData("@SUM(A1)", "\"'@SUM(A1)\"")]
    [InlineData("  =1", "\"'  =1\"")]
    [InlineData("\t=1", "\"'\t=1\"")]
    [InlineData("\r=1", "\"'\r=1\"")]
    [InlineData("＝1", "\"'＝1\"")]
    [InlineData("a=b", "a=b")]
    [InlineData(" blank ", "\" blank \"")]
    public void Cell_Text_IsQuotedAndNeverAFormula(string text, string expected) => Assert.Equal(expected, Csv.Cell(text));

    [Fact]
    public void AppendCsvRow_Numbers_StayNumbers() =>
        Assert.Equal("-1,0.1,-0.25,true,\n", new StringBuilder().AppendCsvRow(-1, 0.1f, -0.25, true, null).ToString());
}
