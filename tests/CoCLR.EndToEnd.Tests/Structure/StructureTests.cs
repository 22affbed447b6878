// Why this exists: directions between the projects and between their rooms are one-way (docs/architecture.md); read from what was built, so
// nothing escapes.
using ArchUnitNET.Domain;
using ArchUnitNET.Fluent.Slices;
using ArchUnitNET.Loader;
using ArchUnitNET.xUnitV3;
using static ArchUnitNET.Fluent.ArchRuleDefinition;

namespace CoCLR.EndToEnd.Tests.Structure;

public sealed class StructureTests
{
    private static readonly string s_configuration =
        AppContext.BaseDirectory.Contains("/Debug/", StringComparison.Ordinal) ? "Debug" : "Release";
    private static readonly string s_root =
        Path.GetFullPath(Environment.GetEnvironmentVariable("COCLR_ROOT") ?? Path.Combine(AppContext.BaseDirectory, "../../../../.."));

    [Theory]
    [InlineData("src/CoCLR.Cli", "CoCLR.Engine.dll", "CoCLR.Engine.(**)")]
    [InlineData("src/CoCLR.Cli", "coclr.dll", "CoCLR.Cli.(**)")]
    [InlineData("src/CoCLR.Dashboard", "CoCLR.Dashboard.dll", "CoCLR.Dashboard.(**)")]
    [InlineData("operator/CoCLR.Operator", "CoCLR.Operator.dll", "CoCLR.Operator.(**)")]
    public void Rooms_HaveNoCircle(string project, string assembly, string rooms) =>
        SliceRuleDefinition.Slices().Matching(rooms).Should().BeFreeOfCycles().Check(Load(project, assembly));

    [Theory]
    [InlineData("src/CoCLR.Core", "CoCLR.Core.dll", "Manifests", "Planning|Events|Results")]
    [InlineData("src/CoCLR.Dashboard", "CoCLR.Dashboard.dll", "Storage", "Authentication|Cluster|Ingest|Live|Hosting|Api|Components")]
    [InlineData("src/CoCLR.Dashboard", "CoCLR.Dashboard.dll", "Ingest", "Authentication|Cluster|Live|Hosting|Api|Components")]
    [InlineData("src/CoCLR.Dashboard", "CoCLR.Dashboard.dll", "Api", "Components")]
    [InlineData("src/CoCLR.Cli", "CoCLR.Engine.dll", "Contrastive", "Evaluation|Stages")]
    [InlineData("src/CoCLR.Cli", "CoCLR.Engine.dll", "Training", "Evaluation|Stages")]
    [InlineData("src/CoCLR.Cli", "CoCLR.Engine.dll", "Video", "Flow|Models|Contrastive|Training|Evaluation|Stages")]
    [InlineData("operator/CoCLR.Operator", "CoCLR.Operator.dll", "Api", "Progress|Reconciling|Hosting")]
    public void Room_KnowsNothingAboveIt(string project, string assembly, string room, string above)
    {
        string root = Path.GetFileNameWithoutExtension(assembly).Replace(".", "\\.", StringComparison.Ordinal);
        Types().That().ResideInNamespaceMatching($"^{root}\\.{room}(\\..*)?$")
            .Should().NotDependOnAny(Types().That().ResideInNamespaceMatching($"^{root}\\.({above})(\\..*)?$"))
            .Check(Load(project, assembly));
    }

    private static Architecture Load(string project, string assembly) =>
        new ArchLoader().LoadFilteredDirectory(Path.Combine(s_root, project, "bin", s_configuration, "net10.0"), assembly).Build();
}
