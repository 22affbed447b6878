// Why this exists: addresses of pages are made in one place; a page's state is its address.
namespace CoCLR.Dashboard.Formatting;

/// <summary>Addresses, relative to the base.</summary>
public static class Links
{
    /// <summary>A run's page.</summary>
    /// <param name="run">Id.</param>
    /// <param name="tab">Tab; the first when null.</param>
    public static string Run(string run, string? tab = null) => $"experiments/{Uri.EscapeDataString(run)}{(tab is null ? "" : "/" + tab)}";

    /// <summary>A suite's badge.</summary>
    /// <param name="suite">Its name.</param>
    public static string SuiteBadge(string suite) => $"api/v1/suites/{Uri.EscapeDataString(suite)}/badge.svg";

    /// <summary>A suite's table as Markdown.</summary>
    /// <param name="suite">Its name.</param>
    public static string SuiteTable(string suite) => $"api/v1/suites/{Uri.EscapeDataString(suite)}/table.md";

    /// <summary>A trained network as a package.</summary>
    /// <param name="run">Run.</param>
    /// <param name="stage">Training stage.</param>
    /// <param name="license">Licence of the weights; empty for none.</param>
    /// <param name="dataLicense">Licence of the training videos; empty for none.</param>
    public static string Package(string run, string stage, string license = "", string dataLicense = "") =>
        $"api/v1/runs/{Uri.EscapeDataString(run)}/package?stage={Uri.EscapeDataString(stage)}"
        + (license.Length > 0 ? $"&license={Uri.EscapeDataString(license)}" : "")
        + (dataLicense.Length > 0 ? $"&dataLicense={Uri.EscapeDataString(dataLicense)}" : "");

    /// <summary>An artifact.</summary>
    /// <param name="id">Id.</param>
    /// <param name="download">Saves instead of showing.</param>
    public static string Artifact(string id, bool download = false) =>
        $"api/v1/artifacts/{Uri.EscapeDataString(id)}{(download ? "?download=true" : "")}";

    /// <summary>The preview of a clip.</summary>
    /// <param name="run">Run.</param>
    /// <param name="id">Video id.</param>
    /// <param name="view">rgb or flow.</param>
    /// <param name="video">The video, else its poster.</param>
    public static string Clip(string run, string id, string view, bool video) =>
        $"api/v1/runs/{Uri.EscapeDataString(run)}/clips/{view}/{(video ? "video" : "poster")}?id={Uri.EscapeDataString(id)}";
}
