// Why this exists: a field is described once, in its doc comment; the CRD, the form and the reference pages read it from the XML file that
// the compiler writes beside the assembly.
using System.Reflection;
using System.Text.RegularExpressions;
using System.Xml;
using System.Xml.Linq;

namespace CoCLR.Core.Manifests.Schema;

internal static partial class DocComments
{
    private static readonly Lazy<Dictionary<string, string>> Summaries = new(Load);

    public static string Of(MemberInfo member) => Summaries.Value.GetValueOrDefault(member switch
    {
        Type type => "T:" + type.FullName,
        PropertyInfo property => $"P:{property.DeclaringType!.FullName}.{property.Name}",
        _ => $"F:{member.DeclaringType!.FullName}.{member.Name}",
    }, "");

    private static Dictionary<string, string> Load()
    {
        string file = Path.Combine(AppContext.BaseDirectory, typeof(DocComments).Assembly.GetName().Name + ".xml");
        if (!File.Exists(file))
        {
            return [];
        }

        try
        {
            return XDocument.Load(file).Descendants("member")
                .Where(m => m.Element("summary") != null)
                .ToDictionary(m => m.Attribute("name")!.Value, m => Space().Replace(Text(m.Element("summary")!), " ").Trim());
        }
        catch (XmlException)
        {
            return []; // A damaged file costs descriptions, nothing else.
        }
    }

    private static string Text(XElement element) => string.Concat(element.Nodes().Select(n => n switch
    {
        XText text => text.Value,
        XElement { Name.LocalName: "see" } see =>
            (see.Attribute("cref")?.Value ?? see.Attribute("langword")?.Value ?? "").Split('.', ':')[^1],
        XElement e => Text(e),
        _ => "",
    }));

    [GeneratedRegex(@"\s+")]
    private static partial Regex Space();
}
