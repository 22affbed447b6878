// Why this exists: words that come from outside (filters, log lines, names) stay words: parsed, encoded, never run.
using System.Globalization;
using System.Net;
using System.Text.Json;
using CoCLR.Core.Events;
using CoCLR.Core.Results;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Formatting;
using CoCLR.Dashboard.Storage;
using CoCLR.Dashboard.Tests.Fixtures;

namespace CoCLR.Dashboard.Tests.Api;

public sealed class TextTests
{
    private static readonly RunInfo Run = new()
    {
        Run = "ucf-coclr-1", Experiment = "ucf-coclr", Method = "CoCLR", BestProbe = 0.62, RecallAt1 = 0.4, Loss = 1.5, Seed = 3,
        Created = DateTimeOffset.UtcNow.AddHours(-3), Device = "NVIDIA H100"
    };

    [Theory]
    [InlineData("plain", "plain")]
    [InlineData("\u001b[31mred\u001b[0m", "red")]
    [InlineData("\u001b]0;title\u0007text", "text")]
    [InlineData("\u001b]8;;javascript:alert(1)\u001b\\link\u001b]8;;\u001b\\", "link")]
    [InlineData("a\u001b[2J\u001b[Hb", "ab")]
    [InlineData("a\rb\nc", "ab\nc")]
    [InlineData("\u009b31mx", "x")]
    [InlineData("end\u001b", "end")]
    [InlineData("end\u001b[", "end")]
    public void Ansi_OnlyColoursGetThrough(string line, string text) => Assert.Equal(text, Ansi.Strip(line));

    [Fact]
    public void Ansi_Colours_BecomeClasses() => Assert.Equal(
        [new AnsiPiece("a", ""), new AnsiPiece("b", "ansi-32 ansi-bold"), new AnsiPiece("c", "ansi-bold"), new AnsiPiece("d", "")],
        Ansi.Parse("a\u001b[1;32mb\u001b[39mc\u001b[md"));

    [Theory]
    [InlineData("de-DE")]
    [InlineData("tr-TR")]
    [InlineData("ar-SA")]
    public void Text_IsTheSameInEveryCulture(string culture)
    {
        CultureInfo before = CultureInfo.CurrentCulture;
        try
        {
            CultureInfo.CurrentCulture = CultureInfo.GetCultureInfo(culture);
            Assert.Equal("62.5 %", Text.Percent(0.625));
            Assert.Equal("1.500", Text.Number(1.5));
            Assert.Equal("1,234", Text.Number(1234.4));
            Assert.Equal("3 h", Text.Ago(DateTimeOffset.UtcNow.AddHours(-3), DateTimeOffset.UtcNow));
            Assert.Equal("1.5 GiB", Text.Bytes(1.5 * (1 << 30)));
            Assert.True(RunFilter.Parse([Run], "probe>0.6 method:coclr").Matches(Run, Annotation.None));
            Assert.Equal("0.5", Csv.Cell(0.5));
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    [Fact]
    public async Task CsvExport_NamesLikeFormulas_AreTextAndJsonIsParsed()
    {
        await using DashboardServer server = await DashboardServer.StartAsync();
        server.Store.Apply(
            "r1",
            "pretrain-rgb",
            [
                Make.Metric(0, 0, 1),
                new LogEvent
                {
                    Run = "r1", Stage = "pretrain-rgb", Attempt = 1, Seq = 1, Time = Make.Start, Level = "info",
                    Message = "<script>alert(1)</script>\r\nHTTP/1.1 200"
                }
            ]);
        using HttpClient client = server.Admin();
        string csv = await client.GetStringAsync("/api/v1/runs/r1/metrics.csv");
        Assert.Equal(2, csv.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        using HttpResponseMessage log = await client.GetAsync("/api/v1/runs/r1/logs.txt");
        Assert.Equal("attachment", log.Content.Headers.ContentDisposition!.DispositionType);
        Assert.Equal(
            "    HTTP/1.1 200", (await log.Content.ReadAsStringAsync()).Split('\n', StringSplitOptions.RemoveEmptyEntries)[1..].Single());
        using JsonDocument openApi = JsonDocument.Parse(await client.GetStringAsync("/openapi/v1.json"));
        Assert.True(openApi.RootElement.GetProperty("paths").EnumerateObject().Count() > 20);
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync("/api/v1/runs/nothing")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync("/api/v1/artifacts/..%2F..%2Fetc%2Fpasswd")).StatusCode);
    }
}
