// Why this exists: CRDs and reference pages in the repository must be what the types say.
using CoCLR.Core.Manifests.Schema;

namespace CoCLR.Operator.Tests.Api;

public class GeneratedFilesTests
{
    [Fact]
    public void Crds_InTheRepository_AreWhatTheTypesSay() => AssertSame("crds", CrdGenerator.Files());

    [Fact]
    public void ReferencePages_InTheRepository_AreWhatTheTypesSay() => AssertSame("docs/reference", ReferenceDocs.Files());

    [Fact]
    public void Crds_EveryField_HasADescription()
    {
        foreach (SchemaNode node in new[] { SchemaModel.Experiment, SchemaModel.Benchmark, SchemaModel.For(typeof(CoCLR.Core.Manifests.Status.ExperimentStatus)), SchemaModel.For(typeof(CoCLR.Core.Manifests.Status.BenchmarkStatus)) })
        {
            foreach ((string path, SchemaField field) in Fields(node, ""))
            {
                Assert.False(string.IsNullOrWhiteSpace(field.Node.Description), $"{path} has no description");
            }
        }
    }

    [Fact]
    public void Crds_EveryStringListAndMap_IsBounded()
    {
        foreach (SchemaNode node in new[] { SchemaModel.Experiment, SchemaModel.Benchmark })
        {
            foreach ((string path, SchemaField field) in Fields(node, ""))
            {
                SchemaNode value = field.Node;
                bool open = value.Type is SchemaType.Array or SchemaType.Map or SchemaType.String && value.EnumValues == null
                    && value.Maximum == null;
                Assert.False(open, $"{path} has no upper bound, which breaks the cost limit of its rules");
            }
        }
    }

    private static IEnumerable<(string Path, SchemaField Field)> Fields(SchemaNode node, string path)
    {
        foreach (SchemaField field in node.Fields)
        {
            yield return ($"{path}.{field.Name}", field);
            SchemaNode inner = field.Node.Type == SchemaType.Array ? field.Node.Items! : field.Node;
            foreach (var nested in Fields(inner, $"{path}.{field.Name}"))
            {
                yield return nested;
            }
        }
    }

    private static void AssertSame(string folder, IReadOnlyDictionary<string, string> files)
    {
        string path = Path.Combine(Repository.Root, folder);
        foreach ((string name, string text) in files)
        {
            string file = Path.Combine(path, name);
            Assert.True(File.Exists(file), $"{folder}/{name} is missing: run `coclr crd`");
            Assert.True(File.ReadAllText(file) == text, $"{folder}/{name} is out of date: run `coclr crd`");
        }
    }
}
