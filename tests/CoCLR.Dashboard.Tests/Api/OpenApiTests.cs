// Why this exists: clients are made from the description; it must say everything, and pass the linter that others would hold against it.
using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using CoCLR.Dashboard.Tests.Fixtures;

namespace CoCLR.Dashboard.Tests.Api;

public sealed class OpenApiTests(ServerFixture fixture) : IClassFixture<ServerFixture>
{
    private readonly DashboardServer _server = fixture.Server;

    [Fact]
    public async Task EveryOperation_HasNameAnswerErrorsAndSecurity()
    {
        using HttpClient client = _server.Admin();
        using JsonDocument document = JsonDocument.Parse(await client.GetStringAsync("/openapi/v1.json"));
        var names = new HashSet<string>();
        var missing = new List<string>();
        foreach (JsonProperty path in document.RootElement.GetProperty("paths").EnumerateObject())
        {
            foreach (JsonProperty operation in path.Value.EnumerateObject())
            {
                string where = $"{operation.Name} {path.Name}";
                JsonElement says = operation.Value;
                if (!says.TryGetProperty("operationId", out JsonElement id) || !names.Add(id.GetString()!))
                {
                    missing.Add($"{where}: no operationId of its own");
                }

                JsonProperty[] answers = [.. says.GetProperty("responses").EnumerateObject()];
                if (!answers.Any(a => a.Name == "204" || (a.Name[0] == '2' && a.Value.TryGetProperty("content", out JsonElement content) && content.EnumerateObject().All(c => c.Value.TryGetProperty("schema", out _)))))
                {
                    missing.Add($"{where}: no schema of its answer");
                }

                missing.AddRange(
                    answers.Where(
                        a => a.Name[0] is '4' or '5' && !a.Value.GetProperty("content").TryGetProperty("application/problem+json", out _))
                        .Select(a => $"{where}: {a.Name} is no problem"));
                if (answers.All(a => a.Name[0] != '4') || !says.TryGetProperty("security", out _) || !says.TryGetProperty("summary", out _))
                {
                    missing.Add($"{where}: no errors, security or summary");
                }
            }
        }

        Assert.Empty(missing);
        Assert.True(names.Count > 25);
    }

    // https://redocly.com/docs/cli/rules/recommended, fetched by npm where there is one.
    [Fact]
    public async Task Description_LintsClean()
    {
        string? npx = Environment.GetEnvironmentVariable("PATH")!.Split(':').Select(p => Path.Combine(p, "npx"))
            .FirstOrDefault(File.Exists);
        Assert.SkipWhen(npx is null, "npm is not installed.");
        using var folder = new TemporaryFolder();
        using HttpClient client = _server.Admin();
        string file = folder["openapi.json"];
        Directory.CreateDirectory(folder.Path);
        await File.WriteAllTextAsync(file, await client.GetStringAsync("/openapi/v1.json"));
        (int fetched, _) = await RunAsync("--version");
        Assert.SkipWhen(fetched != 0, "npm cannot fetch @redocly/cli.");
        (int code, string output) = await RunAsync("lint", file, "--extends=recommended", "--format=stylish");
        Assert.True(code == 0 && !Regex.IsMatch(output, "You have \\d+ (warning|error)"), output);

        async Task<(int Code, string Output)> RunAsync(params string[] arguments)
        {
            var start = new ProcessStartInfo(npx!, ["--yes", "--package", "@redocly/cli@2", "redocly", .. arguments])
            {
                RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder.Path
            };
            start.Environment["REDOCLY_TELEMETRY"] = "off";
            start.Environment["NO_COLOR"] = "1";
            using Process process = Process.Start(start)!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string output = await process.StandardOutput.ReadToEndAsync();
            await process.WaitForExitAsync();
            return (process.ExitCode, output + await errors);
        }
    }
}
