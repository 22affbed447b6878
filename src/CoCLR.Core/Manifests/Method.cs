// Why this exists: a learning method is one name in a manifest; what planner, rules, pages and loaders must know of it is said once, beside
// that name.
using System.Reflection;
using System.Text.Json.Serialization;
using CoCLR.Core.Manifests.Schema;

namespace CoCLR.Core.Manifests;

/// <summary>The learning methods.</summary>
public enum Method
{
    /// <summary>Instance discrimination with a momentum encoder (MoCo).</summary>
    InfoNCE,

    /// <summary>InfoNCE whose positives are all clips of the class: the ceiling.</summary>
    [MethodTraits(NeedsLabels = true)] UberNCE,

    /// <summary>Contrastive multiview coding across RGB and flow.</summary>
    [MethodTraits(NeedsBothViews = true, Joint = true), JsonStringEnumMemberName("CMC")] Cmc,

    /// <summary>Co-training: each view mines positives for the other.</summary>
    [MethodTraits(NeedsBothViews = true, CoTrains = true)] CoCLR,
}

/// <summary>
/// What sets a method apart for everybody but its own file; its formula and step are in <c>CoCLR.Engine/Contrastive/Methods</c>.
/// </summary>
[AttributeUsage(AttributeTargets.Field)]
public sealed class MethodTraitsAttribute : Attribute
{
    /// <summary>Every training video must have a label.</summary>
    public bool NeedsLabels { get; init; }

    /// <summary>RGB and flow are both needed.</summary>
    public bool NeedsBothViews { get; init; }

    /// <summary>Pre-training learns both views in one stage.</summary>
    public bool Joint { get; init; }

    /// <summary>
    /// Pre-training is InfoNCE's; the method itself is learned in the turns after it, in which the views mine for each other.
    /// </summary>
    public bool CoTrains { get; init; }
}

/// <summary>Looks the traits up.</summary>
public static class MethodTraits
{
    private static readonly Dictionary<Method, (MethodTraitsAttribute Traits, string Name)> s_all = Enum.GetValues<Method>()
        .ToDictionary(m => m, m =>
    {
        FieldInfo field = typeof(Method).GetField(m.ToString())!;
        return (
            field.GetCustomAttribute<MethodTraitsAttribute>() ?? new(),
            field.GetCustomAttribute<JsonStringEnumMemberNameAttribute>()?.Name ?? m.ToString());
    });

    /// <summary>What sets a method apart.</summary>
    /// <param name="method">A method.</param>
    public static MethodTraitsAttribute Traits(this Method method) => s_all[method].Traits;

    /// <summary>The name that manifests and tables write.</summary>
    /// <param name="method">A method.</param>
    public static string DisplayName(this Method method) => s_all[method].Name;

    /// <summary>The method of a <see cref="DisplayName"/>; null when there is none.</summary>
    /// <param name="name">As in a manifest or a result.</param>
    public static Method? Named(string? name) => s_all.Where(m => m.Value.Name == name).Select(m => (Method?)m.Key).FirstOrDefault();

    /// <summary>The methods with a trait, as they are written in a manifest, in the enumeration's order.</summary>
    internal static IEnumerable<string> With(Func<MethodTraitsAttribute, bool> trait) =>
        s_all.Where(m => trait(m.Value.Traits)).Select(m => m.Value.Name);
}

/// <summary>Adds the rules that follow from the methods' traits to those that stand beside a type.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class MethodRulesAttribute : Attribute
{
    private const string BothViews = "(self.views.exists(v, v == 'RGB') && self.views.exists(v, v == 'Flow'))";

    /// <summary>The rules in CEL.</summary>
    public static IEnumerable<SchemaRule> Rules =>
    [
        .. MethodTraits.With(t => t.NeedsBothViews)
            .Select(m => new SchemaRule($"self.training.method != '{m}' || {BothViews}", ExperimentRules.NeedsBothViews(m), ".views")),
        .. MethodTraits.With(t => t.CoTrains)
            .Select(m => new SchemaRule($"self.training.method != '{m}' || self.cotrain.mineAmong == 'videos' || self.cotrain.topK < "
                + $"(has(self.cotrain.queueSize) ? self.cotrain.queueSize : self.training.queueSize)", ExperimentRules.TopKInQueue,
                ".cotrain.topK")),
    ];
}
