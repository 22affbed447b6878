// Why this exists: dependencies point one way; a reference against it would let Kubernetes or web pages into the engine, or tensors into
// the dashboard.
using System.Xml.Linq;

namespace CoCLR.Core.Tests;

public sealed class DependencyTests
{
    private static readonly string s_root =
        Path.GetFullPath(Environment.GetEnvironmentVariable("COCLR_ROOT") ?? Path.Combine(AppContext.BaseDirectory, "../../../../.."));

    [Theory]
    [InlineData("src/CoCLR.Core", "")]
    [InlineData("src/CoCLR.Runs", "CoCLR.Core")]
    [InlineData("src/CoCLR.Cluster", "CoCLR.Core")]
    [InlineData("src/CoCLR.Engine", "CoCLR.Core CoCLR.Runs")]
    [InlineData("src/CoCLR.Cli", "CoCLR.Core CoCLR.Runs CoCLR.Cluster CoCLR.Engine")]
    [InlineData("src/CoCLR.Dashboard", "CoCLR.Core CoCLR.Runs CoCLR.Cluster")]
    [InlineData("src/CoCLR.TrialCluster", "CoCLR.Core")]
    [InlineData("operator/CoCLR.Operator", "CoCLR.Core CoCLR.Runs CoCLR.Cluster")]
    public void Project_ReferencesOnlyWhatLiesBelowIt(string folder, string allowed) =>
        Assert.Empty(
            References(folder, "ProjectReference").Select(r => Path.GetFileNameWithoutExtension(r.Replace('\\', '/')))
                .Except(allowed.Split(' ', StringSplitOptions.RemoveEmptyEntries)));

    [Theory]
    [InlineData("src/CoCLR.Core", "TorchSharp|Kubernetes|AspNetCore|MudBlazor|LiteDB|Spectre|AWSSDK")]
    [InlineData("src/CoCLR.Runs", "TorchSharp|Kubernetes|AspNetCore|MudBlazor|LiteDB|Spectre|AWSSDK")]
    [InlineData("src/CoCLR.Cluster", "TorchSharp|AspNetCore|MudBlazor|LiteDB|Spectre|AWSSDK")]
    [InlineData("src/CoCLR.Engine", "Kubernetes|AspNetCore|SignalR|MudBlazor|LiteDB|Spectre")]
    [InlineData("src/CoCLR.Dashboard", "TorchSharp|libtorch")]
    [InlineData("operator/CoCLR.Operator", "TorchSharp|libtorch|MudBlazor|LiteDB")]
    public void Project_UsesNoPackageOfAnotherPlace(string folder, string forbidden) =>
        Assert.DoesNotContain(
            References(folder, "PackageReference").Concat(References(folder, "FrameworkReference")),
            package => forbidden.Split('|').Any(f => package.Contains(f, StringComparison.OrdinalIgnoreCase)));

    [Fact]
    public void EveryProjectOfTheProduct_IsLookedAt() =>
        Assert.Equal(
            [
                "CoCLR.Cli", "CoCLR.Cluster", "CoCLR.Core", "CoCLR.Dashboard", "CoCLR.Engine", "CoCLR.Operator", "CoCLR.Runs",
                "CoCLR.TrialCluster"
            ],
            new[] { "src", "operator" }.SelectMany(f => Directory.GetDirectories(Path.Combine(s_root, f)))
                .Where(d => Directory.GetFiles(d, "*.csproj").Length > 0).Select(Path.GetFileName).Order());

    private static IEnumerable<string> References(string folder, string kind)
    {
        string project = Assert.Single(Directory.GetFiles(Path.Combine(s_root, folder), "*.csproj"));
        return XDocument.Load(project).Descendants(kind).Select(e => e.Attribute("Include")!.Value);
    }
}
