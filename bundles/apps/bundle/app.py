"""Every MONAI bundle in the folder `bundles` beside this file is a model, as it is."""

from tasks.compute.apps.interfaces import App, BundleTask


class Bundles(App):
    description = "MONAI bundles"

    def init_infers(self):
        found = sorted(self.app_dir.glob("bundles/*/configs/metadata.json"))
        # Archives of the model zoo unpack as `spleen_ct_segmentation_v0.5.3`, and names of models have no dots.
        return {file.parent.parent.name.replace(".", "_"): BundleTask(file.parent.parent) for file in found}


app = Bundles
